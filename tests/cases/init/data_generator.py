import torch
from torch import nn


def batches(data, size):
    order = torch.randperm(len(data))
    for start in range(0, len(data), size):
        yield data[order[start : start + size]]


def epochs(n):
    for number in range(n):
        yield number


torch.manual_seed(11)
data = torch.randn(16, 4)
net = nn.Linear(4, 1)
opt = torch.optim.SGD(net.parameters(), lr=0.1)
for epoch in epochs(3):
    for batch in batches(data, 4):
        opt.zero_grad()
        net(batch).pow(2).mean().backward()
        opt.step()
    # hindsight: flor.log("norm", net.weight.norm().item())
