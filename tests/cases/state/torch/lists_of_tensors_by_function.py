import flor_ray as flor
import random, copy
import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset, Dataset
X = torch.randn(16, 4); Y = torch.randn(16, 1)
def norm(m):
    return [float(p.detach().double().sum()) for p in m.parameters()]
bufs = [torch.zeros(3) for _ in range(3)]
memory = {"a": torch.zeros(2, 2)}
def write(bufs, memory):
    for b in bufs: b.add_(torch.rand(3))
    memory["a"][0] += 1
first = bufs[0]
flor.checkpointing()
for epoch in flor.loop("epoch", range(4)):
    for i in flor.loop("step", range(2)):
        write(bufs, memory)
    flor.log("tail", [float(first.sum()), float(bufs[2].sum()), memory["a"].tolist()])
flor.log("suffix", float(first.sum()))
