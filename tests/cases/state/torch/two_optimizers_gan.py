import flor_ray as flor
import random, copy
import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset, Dataset
X = torch.randn(16, 4); Y = torch.randn(16, 1)
def norm(m):
    return [float(p.detach().double().sum()) for p in m.parameters()]
G, D = nn.Linear(4, 4), nn.Linear(4, 1)
og, od = torch.optim.Adam(G.parameters()), torch.optim.Adam(D.parameters())
flor.checkpointing(G, D, og, od)
for epoch in flor.loop("epoch", range(4)):
    for i in flor.loop("step", range(2)):
        od.zero_grad()
        z = torch.randn(8, 4)
        ld = D(G(z).detach()).mean() - D(X).mean()
        ld.backward(); od.step()
        og.zero_grad()
        lg = -D(G(z)).mean()
        lg.backward(); og.step()
        flor.log("inner", [ld.item(), lg.item()])
    flor.log("tail", [norm(G), norm(D)])
flor.log("suffix", [norm(G), norm(D)])
