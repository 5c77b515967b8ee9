import flor_ray as flor
import random, copy
import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset, Dataset
X = torch.randn(16, 4); Y = torch.randn(16, 1)
def norm(m):
    return [float(p.detach().double().sum()) for p in m.parameters()]
rnn = nn.RNN(4, 4)
opt = torch.optim.SGD(rnn.parameters(), lr=.01)
h = torch.zeros(1, 16, 4)
flor.checkpointing(rnn=rnn, opt=opt)
for epoch in flor.loop("epoch", range(4)):
    for i in flor.loop("step", range(2)):
        out, h = rnn(X.unsqueeze(0), h)
        h = h.detach()
        opt.zero_grad(); out.mean().backward(); opt.step()
    flor.log("tail", float(h.double().sum()))
flor.log("suffix", float(h.double().sum()))
