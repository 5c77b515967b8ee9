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
reg = nn.Linear(2, 1)
flor.checkpointing(net=net, opt=opt)
for epoch in flor.loop("epoch", range(4)):
    opt.zero_grad()
    total = 0.0
    for i in flor.loop("step", range(3)):
        total = total + ((net(X + i) - Y) ** 2).mean()
    (total + 0.1 * net.weight.sum()).backward()
    opt.step()
    flor.log("tail", [norm(net), total.item()])
flor.log("suffix", norm(net))
