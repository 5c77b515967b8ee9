"""Views that move from place to place, and the memory behind them, which nobody else's values may get into."""

import random

import numpy as np
import torch
from torch import nn

import flor_ray as flor

torch.manual_seed(0)
random.seed(0)
data = torch.randn(64, 4)
table = np.random.default_rng(0).normal(size=(32, 3))
both = np.zeros(8)
tensor = torch.from_numpy(both)
window = [data[i] for i in range(4)]
rows = {"a": table[0], "b": table[1:3], "c": table[::-1][4]}
net = nn.Linear(4, 4)
average = [p.detach() for p in net.parameters()]
wide = data[3].expand(5, 4)


class Memory:
    def __init__(self):
        self.ring = np.zeros((6, 2))
        self.last = self.ring[0]
        self.tensor = torch.as_tensor(self.ring)

    def push(self, i):
        self.last = self.ring[i % 6]
        self.last += i


def summed(values):
    return [float(np.asarray(v).sum()) for v in values]


memory = Memory()
optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
best = None
flor.checkpointing(net=net, optimizer=optimizer)
for epoch in flor.loop("epoch", range(5)):
    for step in flor.loop("step", range(3)):
        window[random.randrange(4)] = data[random.randrange(64)]
        rows["ab"[step % 2]] = table[random.randrange(30)]
        rows["a"] += 1
        memory.push(random.randrange(6))
        tensor[random.randrange(8)] += 1
        if step == 1 and epoch == 2:
            window[0] *= 2
        loss = net(torch.stack(window)).pow(2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        flor.log("inner", [loss.item(), *summed(rows.values())])
    if epoch == 1:
        best = dict(net.state_dict())
    if epoch == 3:
        flat = torch.nn.utils.parameters_to_vector(net.parameters()).detach()
        torch.nn.utils.vector_to_parameters(flat, net.parameters())
    flor.log("data", summed([data, wide, *window]))
    flor.log("table", summed([table, *rows.values()]))
    flor.log("memory", summed([memory.ring, memory.last, memory.tensor, both, tensor]))
    flor.log("weights", summed([*average, *(p.detach() for p in net.parameters()), *(best or {}).values()]))
    with torch.no_grad():
        flor.log("flat", float(flat.sum()) if epoch > 2 else 0.0)
flor.log("ended", summed([data, table, both, *average]))
