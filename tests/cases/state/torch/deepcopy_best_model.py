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

opt = torch.optim.Adam(net.parameters())
best_net, best = None, 1e9
flor.checkpointing(net=net, opt=opt)
for epoch in flor.loop("epoch", range(4)):
    for i in flor.loop("step", range(2)):
        opt.zero_grad(); loss = ((net(X) - Y) ** 2).mean(); loss.backward(); opt.step()
    if loss.item() < best:
        best, best_net = loss.item(), copy.deepcopy(net)
    flor.log("tail", [best, norm(best_net)])
flor.log("suffix", norm(best_net))
