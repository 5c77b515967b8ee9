import torch
from torch import nn

net = nn.Linear(4, 1)
opt = torch.optim.SGD(net.parameters(), lr=0.1)
for epoch in range(2):
    for batch in torch.randn(16, 4).split(4):
        opt.zero_grad()
        net(batch).pow(2).mean().backward()
        opt.step()
for epoch in range(2):
    for batch in torch.randn(16, 4).split(4):
        opt.zero_grad()
        net(batch).abs().mean().backward()
        opt.step()
