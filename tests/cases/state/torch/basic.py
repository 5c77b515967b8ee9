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

opt = torch.optim.Adam(net.parameters(), lr=.01)
sched = torch.optim.lr_scheduler.StepLR(opt, 1, .5)
loader = DataLoader(TensorDataset(X, Y), batch_size=8, shuffle=True)
flor.checkpointing(net=net, optimizer=opt)
for epoch in flor.loop("epoch", range(4)):
    net.train()
    for x, y in flor.loop("step", loader):
        opt.zero_grad()
        loss = ((net(x) - y) ** 2).mean()
        loss.backward()
        opt.step()
        flor.log("inner", loss.item())
    sched.step()
    net.eval()
    flor.log("tail", [norm(net), loss.item(), sched.get_last_lr(), float(net(X).sum())])
flor.log("suffix", [norm(net), loss.item()])
