# Conditions: {"where": ["epoch == 4", null]}
# Functions that remember what they returned: one returns what is then changed, one counts how often it really ran.
import functools

import torch

import flor_ray as flor

runs = 0


@functools.cache
def statistics(name):
    return {"name": name, "seen": 0}


@functools.lru_cache(maxsize=8)
def slow(number):
    global runs
    runs += 1
    return number * 2


@functools.lru_cache
def table(size):
    return torch.arange(size)


table(4)
net = torch.nn.Linear(1, 1)
opt = torch.optim.SGD(net.parameters(), lr=1e-3)
flor.checkpointing(net=net, opt=opt, overhead=1)
for epoch in flor.loop("epoch", range(4)):
    for step in flor.loop("step", range(2)):
        statistics("train")["seen"] += 1
        loss = net(torch.tensor([[float(slow(epoch // 2 + step) + table(4)[step])]])).square().mean()
        opt.zero_grad()
        loss.backward()
        opt.step()
#H         flor.log("seen", statistics("train")["seen"])
#H         flor.log("runs", runs)
    flor.log("loss", loss.item())
