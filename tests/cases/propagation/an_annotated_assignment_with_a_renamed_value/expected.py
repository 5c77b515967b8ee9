from torch import Tensor

from tools import criterion, loader, net, optimizer

for images, labels in loader:
    scores = net(images)
    loss: Tensor = criterion(scores, labels)
    penalty: Tensor = scores.square().mean()
    loss.backward()
    optimizer.step()
