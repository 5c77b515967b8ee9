import flor_ray as flor
import random, copy
import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset, Dataset
X = torch.randn(16, 4); Y = torch.randn(16, 1)
def norm(m):
    return [float(p.detach().double().sum()) for p in m.parameters()]
def sampler_epoch():
    s = 0.0
    for (x,) in val:
        s += float(x[0].sum())
    return s
val = DataLoader(TensorDataset(X), batch_size=4, shuffle=True, generator=torch.Generator().manual_seed(7))
total = 0.0
flor.checkpointing()
for epoch in flor.loop("epoch", range(4)):
    for i in flor.loop("step", range(2)):
        total += 1
    v = sampler_epoch()
    flor.log("tail", [total, v])
flor.log("suffix", total)
