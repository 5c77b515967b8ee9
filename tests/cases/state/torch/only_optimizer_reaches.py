import flor_ray as flor
import random, copy
import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset, Dataset
X = torch.randn(16, 4); Y = torch.randn(16, 1)
def norm(m):
    return [float(p.detach().double().sum()) for p in m.parameters()]
def make():
    model = nn.Linear(4, 1)
    def closure():
        return ((model(X) - Y) ** 2).mean()
    return closure, torch.optim.SGD(model.parameters(), lr=.1)
closure, opt = make()
flor.checkpointing()
for epoch in flor.loop("epoch", range(4)):
    for i in flor.loop("step", range(3)):
        opt.zero_grad()
        loss = closure()
        loss.backward()
        opt.step()
    flor.log("tail", closure().item())
flor.log("suffix", closure().item())
