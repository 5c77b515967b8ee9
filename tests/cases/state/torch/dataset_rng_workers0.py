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
    def __init__(self):
        self.x = torch.randn(300000); self.rng = np.random.default_rng(0); self.py = random.Random(1); self.calls = 0
    def __len__(self): return 6
    def __getitem__(self, i):
        self.calls += 1
        return self.x[i] + self.rng.normal() + self.py.random() + random.random() + np.random.rand()
data = Data()
loader = DataLoader(data, batch_size=3, shuffle=True)
total = 0.0
flor.checkpointing()
for epoch in flor.loop("epoch", range(4)):
    for x in flor.loop("step", loader):
        total += float(x.sum())
        flor.log("inner", total)
    flor.log("tail", [total, data.calls])
flor.log("suffix", total)
