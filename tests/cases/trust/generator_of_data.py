# Conditions: {"where": ["epoch == 4", null]}
# A stream of data that never ends, made by a generator and read by helpers.
import torch

import flor_ray as flor


def stream():
    number = 0
    while True:
        number = (number * 37 + 11) % 101
        yield torch.full((1, 2), float(number))


class Batches:
    def __init__(self, source):
        self.source = source

    def take(self, count):
        return torch.cat([next(self.source) for _ in range(count)])


batches = Batches(stream())
net = torch.nn.Linear(2, 1)
opt = torch.optim.SGD(net.parameters(), lr=1e-5)
flor.checkpointing(net=net, opt=opt, overhead=1)
for epoch in flor.loop("epoch", range(4)):
    for step in flor.loop("step", range(2)):
        x = batches.take(3)
        loss = net(x).square().mean()
        opt.zero_grad()
        loss.backward()
        opt.step()
#H         flor.log("x", x.sum().item())
#H     flor.log("wn", net.weight.norm().item())
    flor.log("loss", loss.item())
