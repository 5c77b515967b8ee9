import torch
from torch import nn

net = nn.Linear(4, 1)
data = torch.randn(16, 4)
for cycle in range(3):
    opt = torch.optim.SGD(net.parameters(), lr=0.1)
    for epoch in range(2):
        for batch in data.split(4):
            loss = net(batch).pow(2).mean()
            opt.zero_grad()
            loss.backward()
            opt.step()
