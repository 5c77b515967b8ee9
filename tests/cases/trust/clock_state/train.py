import torch

import flor_ray as flor
from bar import progress_bar

torch.manual_seed(0)
net = torch.nn.Linear(4, 1)
opt = torch.optim.SGD(net.parameters(), lr=0.1)


def train():
    for i in flor.loop("step", range(3)):
        loss = net(torch.randn(8, 4)).pow(2).mean()
        opt.zero_grad()
        loss.backward()
#H         flor.log("gn", net.weight.grad.norm().item())
        opt.step()
        progress_bar(i)
    return loss.item()


def test():
    for i in range(2):
        net(torch.ones(1, 4))
        progress_bar(i)


flor.checkpointing(net=net, opt=opt)
for epoch in flor.loop("epoch", range(3)):
    flor.log("loss", train())
#H     flor.log("ln", net.weight.norm().item())
    test()
#H     flor.log("wn", net.weight.norm().item())
