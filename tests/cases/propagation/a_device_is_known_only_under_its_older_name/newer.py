import torch

from tools import Net, args, criterion, loader

device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
net = Net(args).to(device)
for x, y in loader:
    x = x.to(device)
    y = y.to(device)  # carry
    loss = criterion(net(x), y)
    loss.backward()
