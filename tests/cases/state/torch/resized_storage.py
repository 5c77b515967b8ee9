import torch

import flor_ray as flor

data = torch.arange(300_000.0)
small = torch.zeros(2)
flor.checkpointing()
for epoch in flor.loop("epoch", range(4)):
    for step in flor.loop("step", range(2)):
        small[0] += step + 1
        flor.log("first", float(small[0]))
    if epoch == 1:
        small.resize_(4).fill_(1.0)
    if epoch == 2:
        data.resize_(400_000)[300_000:] = 2.0
        torch.add(torch.ones(9), 1, out=small)
    flor.log("sizes", [len(small), len(data)])
    flor.log("sums", [float(small.sum()), float(data.double().sum())])
