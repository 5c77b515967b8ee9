import flor_ray as flor
import random, copy
import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset, Dataset
X = torch.randn(16, 4); Y = torch.randn(16, 1)
def norm(m):
    return [float(p.detach().double().sum()) for p in m.parameters()]
net = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.3), nn.Linear(8, 1))

opt = torch.optim.SGD(net.parameters(), lr=.1)
class Metric(nn.Module):
    def __init__(self):
        super().__init__(); self.total = 0.0; self.n = 0
    def update(self, v): self.total += v; self.n += 1
    def compute(self): return self.total / self.n
metric = Metric()
flor.checkpointing(net, opt)
for epoch in flor.loop("epoch", range(4)):
    criterion = nn.MSELoss()
    for i in flor.loop("step", range(2)):
        opt.zero_grad(); loss = criterion(net(X), Y); loss.backward(); opt.step(); metric.update(loss.item())
    flor.log("tail", [norm(net), metric.compute()])
flor.log("suffix", metric.compute())
