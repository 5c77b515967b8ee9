import flor_ray as flor
import random, copy
import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset, Dataset
X = torch.randn(16, 4); Y = torch.randn(16, 1)
def norm(m):
    return [float(p.detach().double().sum()) for p in m.parameters()]
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.lin = nn.Linear(4, 1); self.drop = nn.Dropout(.5); self.calls = 0; self.seen = []
        self.register_buffer("hidden", torch.zeros(1), persistent=False)
    def forward(self, x):
        self.calls += 1; self.seen.append(len(x)); self.hidden += x.mean()
        return self.lin(self.drop(x)) * (1 + 0.01 * self.calls)
net = Net()
opt = torch.optim.SGD(net.parameters(), lr=.1)
flor.checkpointing(net=net, opt=opt)
for epoch in flor.loop("epoch", range(4)):
    net.drop.p *= 0.8
    for i in flor.loop("step", range(2)):
        opt.zero_grad(); ((net(X) - Y) ** 2).mean().backward(); opt.step()
    flor.log("tail", [norm(net), net.calls, len(net.seen), net.hidden.item(), net.drop.p])
flor.log("suffix", [norm(net), net.calls])
