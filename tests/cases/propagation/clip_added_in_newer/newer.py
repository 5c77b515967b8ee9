import flor_ray as flor
from train_tools import net, clip, optimizer, loader, criterion, norm

for epoch in flor.loop("epoch", range(5)):
    for x, y in flor.loop("step", loader):
        optimizer.zero_grad()
        loss = criterion(net(x), y)
        loss.backward()
        clip(net.parameters(), 1.0)
        flor.log("grad_norm", norm(net))  # carry
        optimizer.step()
