import flor_ray as flor
import random, copy
import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset, Dataset
X = torch.randn(16, 4); Y = torch.randn(16, 1)
def norm(m):
    return [float(p.detach().double().sum()) for p in m.parameters()]
w = torch.zeros(4, dtype=torch.bfloat16); k = torch.tensor(0); m = torch.zeros(0); f = torch.zeros(3, dtype=torch.bool)
c = torch.zeros(2, dtype=torch.complex64); t = torch.arange(6.).reshape(2, 3).t()
def step(w, k, f, c, t):
    w += 1; k += 2; f[1] = ~f[1]; c += 1j; t.mul_(1.5)
flor.checkpointing()
for epoch in flor.loop("epoch", range(4)):
    for i in flor.loop("step", range(2)):
        step(w, k, f, c, t)
        m = torch.cat([m, torch.ones(1)])
    flor.log("tail", [w.float().tolist(), k.item(), f.tolist(), str(c.tolist()), t.tolist(), m.tolist()])
flor.log("suffix", k.item())
