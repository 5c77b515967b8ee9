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

acts = []
net[0].register_forward_hook(lambda m, i, o: acts.append(float(o.detach().sum())))
opt = torch.optim.SGD(net.parameters(), lr=.01)
flor.checkpointing(net, opt)
for epoch in flor.loop("epoch", range(4)):
    for i in flor.loop("step", range(2)):
        opt.zero_grad(); (net(X) ** 2).mean().backward(); opt.step()
    if epoch == 1:
        net.eval()
    flor.log("tail", [norm(net), net.training, sum(acts), len(acts)])
flor.log("suffix", len(acts))
