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
warm = torch.optim.lr_scheduler.LambdaLR(opt, lambda e: 1 / (1 + e))
plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(opt, patience=0)
flor.checkpointing(net)
for epoch in flor.loop("epoch", range(4)):
    for i in flor.loop("step", range(2)):
        opt.zero_grad(); loss = (net(X) ** 2).mean(); loss.backward(); opt.step()
    warm.step() if epoch < 2 else plateau.step(1.0)
    flor.log("tail", [norm(net), opt.param_groups[0]["lr"]])
flor.log("suffix", norm(net))
