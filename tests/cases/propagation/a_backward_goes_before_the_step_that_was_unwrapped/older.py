import torch

from tools import criterion, loader, net, optimizer, scaler

for x, y in loader:
    loss = criterion(net(x), y)
    optimizer.step()
    optimizer.zero_grad()
