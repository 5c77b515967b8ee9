import flor_ray as flor
from train_tools import net, loader, criterion, optimizer

for epoch in flor.loop("epoch", range(5)):
    for x, y in flor.loop("step", loader):
        loss = criterion(net(x), y)
        loss.backward()
        optimizer.step()
