from torch import Tensor

from tools import criterion, loader, net, optimizer

for images, labels in loader:
    scores = net(images)
    loss: Tensor = criterion(scores, labels)
    loss.backward()
    optimizer.step()
