import torch

from tools import args, loader, net

correct = 0
for images, labels in loader:
    outputs = net(images)
    correct += (outputs.argmax(1) == labels).sum().item()
print(correct)
