import flor_ray as flor
import random, copy
import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset, Dataset
X = torch.randn(16, 4); Y = torch.randn(16, 1)
def norm(m):
    return [float(p.detach().double().sum()) for p in m.parameters()]
from torch.utils.data import Sampler
class Mine(Sampler):
    def __init__(self, n): self.n = n; self.epoch = 0
    def __len__(self): return self.n
    def __iter__(self):
        self.epoch += 1
        return iter(torch.randperm(self.n, generator=torch.Generator().manual_seed(self.epoch)).tolist())
loader = DataLoader(TensorDataset(X), batch_size=4, sampler=Mine(16))
total = 0.0
flor.checkpointing()
for epoch in flor.loop("epoch", range(4)):
    for (x,) in flor.loop("step", loader):
        total += float(x[0].sum())
        flor.log("inner", total)
    flor.log("tail", total)
flor.log("suffix", total)
