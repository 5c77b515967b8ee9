import torch

import flor_ray as flor

from .net import make

net = make()
opt = torch.optim.SGD(net.parameters(), lr=0.1)
flor.checkpointing(net=net, opt=opt)
for epoch in flor.loop("epoch", range(3)):
    loss = net(torch.randn(8, 4)).pow(2).mean()
    opt.zero_grad()
    loss.backward()
    opt.step()
    flor.log("loss", loss.item())
#H     flor.log("wn", net.weight.norm().item())
