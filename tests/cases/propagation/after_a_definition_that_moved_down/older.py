import flor_ray as flor
from train_tools import net, loader, criterion, optimizer

for epoch in flor.loop("epoch", range(5)):
    for x, y in flor.loop("step", loader):
        optimizer.zero_grad()
        total_loss = criterion(net(x), y)
        total_loss.backward()
        optimizer.step()
