from torch import Tensor

from tools import criterion, loader, net, optimizer

for images, labels in loader:
    logits = net(images)
    loss: Tensor = criterion(logits, labels)
    penalty: Tensor = logits.square().mean()  # carry
    loss.backward()
    optimizer.step()
