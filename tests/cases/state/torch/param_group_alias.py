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
opt = torch.optim.SGD(net.parameters(), lr=.1, momentum=.9)
group = opt.param_groups[0]
flor.checkpointing(net=net, opt=opt)
for epoch in flor.loop("epoch", range(4)):
    group["lr"] *= 0.5
    for i in flor.loop("step", range(2)):
        opt.zero_grad(); ((net(X) - Y) ** 2).mean().backward(); opt.step()
    flor.log("tail", [norm(net), opt.param_groups[0]["lr"]])
flor.log("suffix", norm(net))
