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

scaler = torch.amp.GradScaler("cpu", init_scale=8.0, growth_interval=3)
opt = torch.optim.SGD(net.parameters(), lr=.01)
flor.checkpointing(net, opt)
for epoch in flor.loop("epoch", range(4)):
    for i in flor.loop("step", range(2)):
        opt.zero_grad(); scaler.scale(((net(X) - Y) ** 2).mean()).backward(); scaler.step(opt); scaler.update()
    flor.log("tail", [norm(net), scaler.get_scale()])
flor.log("suffix", scaler.get_scale())
