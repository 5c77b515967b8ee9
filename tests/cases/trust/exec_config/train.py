import sys

import torch

import flor_ray as flor

lr = 0.1
exec(open("configurator.py").read())
net = torch.nn.Linear(4, 1)
opt = torch.optim.SGD(net.parameters(), lr=lr)
flor.checkpointing(net=net, opt=opt)
for epoch in flor.loop("epoch", range(4)):
    for step in flor.loop("step", range(3)):
        loss = net(torch.randn(8, 4)).pow(2).mean()
        opt.zero_grad()
        loss.backward()
#H         flor.log("gn", net.weight.grad.norm().item())
        opt.step()
    flor.log("loss", loss.item())
