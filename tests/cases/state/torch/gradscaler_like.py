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

class Scaler:
    def __init__(self): self._scale = torch.tensor(4.0); self._n = 0
    def scale(self, l): return l * self._scale
    def update(self):
        self._n += 1
        if self._n % 3 == 0: self._scale *= 2
    def state_dict(self): return {"scale": self._scale.item(), "n": self._n}
    def load_state_dict(self, s): self._scale = torch.tensor(s["scale"]); self._n = s["n"]
scaler = Scaler()
opt = torch.optim.SGD(net.parameters(), lr=.01)
flor.checkpointing(net, opt)
for epoch in flor.loop("epoch", range(4)):
    for i in flor.loop("step", range(2)):
        opt.zero_grad(); scaler.scale(((net(X) - Y) ** 2).mean()).backward(); opt.step(); scaler.update()
    flor.log("tail", [norm(net), scaler._scale.item()])
flor.log("suffix", scaler._scale.item())
