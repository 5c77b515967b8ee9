import torch
from torch import nn

import flor_ray as flor

torch.manual_seed(0)
X = torch.linspace(-1, 1, 16).reshape(4, 4)
caught, late = [], []


def keep(module, args, out):
    caught.append(float(out.detach().sum()))


def keep_late(module, args):
    late.append(len(caught))


net = nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 1))
opt = torch.optim.SGD(net.parameters(), lr=0.1)
handle = net.register_forward_hook(keep)
flor.checkpointing(net=net, opt=opt)
for epoch in flor.loop("epoch", range(5)):
    for step in flor.loop("step", range(2)):
        opt.zero_grad()
        net(X).pow(2).mean().backward()
        opt.step()
    if epoch == 1:
        handle.remove()
    if epoch == 2:
        net[0].register_forward_pre_hook(keep_late)
    flor.log("tail", [len(caught), len(late), len(net._forward_hooks), len(net[0]._forward_pre_hooks)])
    flor.log("sum", sum(caught) + sum(late))
flor.log("suffix", [len(caught), len(late)])
