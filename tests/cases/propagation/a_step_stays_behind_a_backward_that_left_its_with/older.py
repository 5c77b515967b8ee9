import torch

from tools import criterion, loader, net, optimizer

for x, y in loader:
    with torch.autocast("cuda"):
        loss = criterion(net(x), y)
    loss.backward()
    optimizer.zero_grad()
