from flor_ray import MTK as Flor
from train_tools import net, optimizer, loader, criterion

for e in Flor.loop(range(30)):
    for x, y in Flor.loop(loader):
        loss = criterion(net(x), y)
        loss.backward()
        optimizer.step()
