import flor_ray as flor
import random, copy
import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset, Dataset
X = torch.randn(16, 4); Y = torch.randn(16, 1)
def norm(m):
    return [float(p.detach().double().sum()) for p in m.parameters()]
net = nn.Linear(4, 1)
opt = torch.optim.SGD(net.parameters(), lr=.1)
n = 0
flor.checkpointing(net=net, opt=opt)
for epoch in flor.loop("epoch", range(4)):
    for i in flor.loop("step", range(3)):
        if n % 4 == 0:
            opt.zero_grad()
        ((net(X) - Y) ** 2).mean().backward()
        n += 1
        if n % 4 == 0:
            opt.step()
    flor.log("tail", [norm(net), float(net.weight.grad.sum())])
flor.log("suffix", norm(net))
