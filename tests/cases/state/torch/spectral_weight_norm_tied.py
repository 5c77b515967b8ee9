import flor_ray as flor
import random, copy
import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset, Dataset
X = torch.randn(16, 4); Y = torch.randn(16, 1)
def norm(m):
    return [float(p.detach().double().sum()) for p in m.parameters()]
net = nn.Sequential(nn.utils.parametrizations.spectral_norm(nn.Linear(4, 4)), nn.utils.parametrizations.weight_norm(nn.Linear(4, 4)), nn.Linear(4, 4))
net[2].bias = net[1].bias
for p in net[2].parameters(): p.requires_grad_(False)
opt = torch.optim.AdamW([p for p in net.parameters() if p.requires_grad], lr=.01)
flor.checkpointing(net, opt)
for epoch in flor.loop("epoch", range(4)):
    if epoch == 2:
        for p in net[2].parameters(): p.requires_grad_(True)
    for i in flor.loop("step", range(2)):
        opt.zero_grad(); (net(X) ** 2).mean().backward(); opt.step()
    flor.log("tail", [norm(net), [p.requires_grad for p in net.parameters()], [p.grad is None for p in net.parameters()]])
flor.log("suffix", norm(net))
