import flor_ray as flor
import random, copy
import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset, Dataset
X = torch.randn(16, 4); Y = torch.randn(16, 1)
def norm(m):
    return [float(p.detach().double().sum()) for p in m.parameters()]
w = torch.zeros(40000)
def update(w):
    w.data.add_(torch.rand(40000))
flor.checkpointing()
for epoch in flor.loop("epoch", range(4)):
    for i in flor.loop("step", range(2)):
        update(w)
    flor.log("tail", float(w.double().sum()))
flor.log("suffix", float(w.double().sum()))
