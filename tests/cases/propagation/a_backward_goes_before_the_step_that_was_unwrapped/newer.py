import torch

from tools import criterion, loader, net, optimizer, scaler

for x, y in loader:
    with torch.autocast("cuda"):
        loss = criterion(net(x), y)
    loss.backward()  # carry
    if scaler.ready:
        optimizer.step()
    optimizer.zero_grad()
