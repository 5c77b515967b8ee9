import flor_ray as flor
import random, copy
import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset, Dataset
X = torch.randn(16, 4); Y = torch.randn(16, 1)
def norm(m):
    return [float(p.detach().double().sum()) for p in m.parameters()]
total = 0.0
flor.checkpointing()
for epoch in flor.loop("epoch", range(4)):
    loader = DataLoader(TensorDataset(X), batch_size=4, shuffle=True, generator=torch.Generator().manual_seed(epoch))
    for (x,) in flor.loop("step", loader):
        total += float(x[0].sum())
        flor.log("inner", total)
    flor.log("tail", total)
flor.log("suffix", total)
