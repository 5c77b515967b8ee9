import flor_ray as flor
from train_tools import net, optimizer, loader, criterion, norm

for epoch in flor.loop("epoch", range(5)):
    for x, y in flor.loop("step", loader):
        optimizer.zero_grad()
        loss = criterion(net(x), y)
        loss.backward()
        flor.log("grad_norm", norm(net))
        optimizer.step()
