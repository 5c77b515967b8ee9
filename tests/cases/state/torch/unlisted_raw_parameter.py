import flor_ray as flor
import random, copy
import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset, Dataset
X = torch.randn(16, 4); Y = torch.randn(16, 1)
def norm(m):
    return [float(p.detach().double().sum()) for p in m.parameters()]
w = nn.Parameter(torch.zeros(4, 1))
b = torch.zeros(1, requires_grad=True)
opt = torch.optim.SGD([w, b], lr=.1, momentum=.9)
flor.checkpointing()
for epoch in flor.loop("epoch", range(4)):
    for i in flor.loop("step", range(3)):
        loss = ((X @ w + b - Y) ** 2).mean()
        opt.zero_grad()
        loss.backward()
        opt.step()
        flor.log("inner", loss.item())
    flor.log("tail", [float(w.sum()), b.item()])
flor.log("suffix", float(w.sum()))
