import torch

from tools import config, load, net, plan

_, loader = load(config)
_, steps = plan(config)
correct = 0
for images, labels in loader:
    outputs = net(images)
    _, predicted = torch.max(outputs, 1)  # carry
    correct += (predicted == labels).sum().item()
print(correct / steps)
