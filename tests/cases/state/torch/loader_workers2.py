import flor_ray as flor
import random, copy
import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset, Dataset
X = torch.randn(16, 4); Y = torch.randn(16, 1)
def norm(m):
    return [float(p.detach().double().sum()) for p in m.parameters()]
class Data(Dataset):
    def __len__(self): return 8
    def __getitem__(self, i):
        return X[i].sum() + torch.rand(()) + random.random()
loader = DataLoader(Data(), batch_size=4, shuffle=True, num_workers=2)
total = 0.0
flor.checkpointing()
for epoch in flor.loop("epoch", range(3)):
    for x in flor.loop("step", loader):
        total += float(x.sum())
        flor.log("inner", total)
    flor.log("tail", total)
flor.log("suffix", total)
