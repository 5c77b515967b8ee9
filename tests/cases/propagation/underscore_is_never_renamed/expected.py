import torch

from tools import config, loader, net, plan

warmup, steps = plan(config)
correct = 0
for images, labels in loader:
    outputs = net(images)
    _, predicted = torch.max(outputs, 1)
    correct += (predicted == labels).sum().item()
print(correct / steps)
