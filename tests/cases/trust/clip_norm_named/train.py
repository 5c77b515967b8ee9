import torch

import flor_ray as flor

net = torch.nn.Linear(4, 1)
opt = torch.optim.SGD(net.parameters(), lr=0.1)
flor.checkpointing(net=net, opt=opt)
for epoch in flor.loop("epoch", range(2)):
    for step in flor.loop("step", range(3)):
        loss = net(torch.randn(8, 4)).pow(2).mean()
        opt.zero_grad()
        loss.backward()
#R         norm = torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
#H         flor.log("gn", norm.item())
        opt.step()
    flor.log("loss", loss.item())
