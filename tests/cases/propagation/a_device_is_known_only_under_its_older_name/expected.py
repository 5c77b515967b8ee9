import torch

from tools import Net, args, criterion, loader

dev = torch.device("cuda")
net = Net(args).to(dev)
for x, y in loader:
    x = x.to(dev)
    y = y.to(dev)
    loss = criterion(net(x), y)
    loss.backward()
