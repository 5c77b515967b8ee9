import torch

from tools import args, loader, net

correct = 0
for images, labels in loader:
    outputs = net(images)
    predicted = torch.argmax(outputs, 1)  # carry
    correct += (predicted == labels).sum().item()
print(correct)
