import flor_ray as flor
import random, copy
import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset, Dataset
X = torch.randn(16, 4); Y = torch.randn(16, 1)
def norm(m):
    return [float(p.detach().double().sum()) for p in m.parameters()]
w = torch.zeros(4, 1, requires_grad=True)
def update(w):
    with torch.no_grad():
        w -= 0.1 * w.grad
flor.checkpointing(w=w)
for epoch in flor.loop("epoch", range(4)):
    for i in flor.loop("step", range(2)):
        loss = ((X @ w - Y) ** 2).mean()
        loss.backward()
        update(w)
        if i == 0:
            w.grad.zero_()
    flor.log("tail", [float(w.sum()), float(w.grad.sum())])
flor.log("suffix", float(w.sum()))
