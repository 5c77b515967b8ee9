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

class Trainer:
    def __init__(self, net):
        self.net = net
        self.opt = torch.optim.Adam(net.parameters())
        self.loader = DataLoader(TensorDataset(X, Y), batch_size=8, shuffle=True, generator=torch.Generator().manual_seed(1))
        self.step, self.best, self.best_state = 0, 1e9, None
    def train_epoch(self):
        total = 0
        for x, y in flor.loop("step", self.loader):
            self.opt.zero_grad()
            loss = ((self.net(x) - y) ** 2).mean()
            loss.backward()
            self.opt.step()
            self.step += 1
            total += loss.item()
            flor.log("inner", loss.item())
        return total
    def fit(self, n):
        for epoch in flor.loop("epoch", range(n)):
            total = self.train_epoch()
            if total < self.best:
                self.best, self.best_state = total, copy.deepcopy(self.net.state_dict())
            flor.log("tail", [total, self.best, self.step, norm(self.net)])
t = Trainer(net)
flor.checkpointing()
t.fit(4)
flor.log("suffix", [t.best, t.step, norm(net), float(t.best_state["0.weight"].sum())])
