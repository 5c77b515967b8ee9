import torch

from tools import config, load, net, plan

_, loader = load(config)
warmup, steps = plan(config)
correct = 0
for images, labels in loader:
    outputs = net(images)
    correct += (predicted == labels).sum().item()
print(correct / steps)
