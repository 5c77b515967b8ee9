import torch
from torch import nn


def train(lr):
    net = nn.Linear(4, 1)
    opt = torch.optim.SGD(net.parameters(), lr=lr)
    for epoch in range(2):
        for batch in torch.randn(16, 4).split(4):
            opt.zero_grad()
            net(batch).pow(2).mean().backward()
            opt.step()


for lr in (0.1, 0.01, 0.001):
    train(lr)
