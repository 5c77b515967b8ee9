import flor_ray as flor
import random, copy
import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset, Dataset
X = torch.randn(16, 4); Y = torch.randn(16, 1)
def norm(m):
    return [float(p.detach().double().sum()) for p in m.parameters()]
buf, pos = np.zeros((1000, 40)), 0
def push(buf, i, v):
    buf[i % 1000] = v
flor.checkpointing()
for epoch in flor.loop("epoch", range(4)):
    for i in flor.loop("step", range(2)):
        push(buf, pos, random.random()); pos += 1
    flor.log("tail", [float(buf.sum()), pos])
flor.log("suffix", float(buf.sum()))
