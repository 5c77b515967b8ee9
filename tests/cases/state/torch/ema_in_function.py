import flor_ray as flor
import random, copy
import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset, Dataset
X = torch.randn(16, 4); Y = torch.randn(16, 1)
def norm(m):
    return [float(p.detach().double().sum()) for p in m.parameters()]
net = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.3), nn.Linear(8, 1))

ema = copy.deepcopy(net)
shadow = {k: v.clone() for k, v in net.state_dict().items()}
opt = torch.optim.SGD(net.parameters(), lr=.1)
def update():
    with torch.no_grad():
        for e, p in zip(ema.parameters(), net.parameters()):
            e.mul_(.9).add_(p, alpha=.1)
        for k, v in net.state_dict().items():
            if v.is_floating_point():
                shadow[k].mul_(.9).add_(v, alpha=.1)
flor.checkpointing(net=net, opt=opt)
for epoch in flor.loop("epoch", range(4)):
    for i in flor.loop("step", range(2)):
        opt.zero_grad(); ((net(X) - Y) ** 2).mean().backward(); opt.step(); update()
    flor.log("tail", [norm(ema), float(shadow["0.weight"].sum())])
flor.log("suffix", norm(ema))
