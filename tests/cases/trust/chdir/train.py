import os

import torch

import flor_ray as flor

data = torch.load("data/x.pt")
os.makedirs("outputs/run", exist_ok=True)
os.chdir("outputs/run")  # as Hydra does (hydra.job.chdir=True), and many scripts
#H flor.log("rows", len(data))
net = torch.nn.Linear(4, 1)
opt = torch.optim.SGD(net.parameters(), lr=0.1)
flor.checkpointing(net=net, opt=opt)
for epoch in flor.loop("epoch", range(3)):
    loss = net(data).pow(2).mean()
    opt.zero_grad()
    loss.backward()
    opt.step()
    flor.log("loss", loss.item())
#H     flor.log("wn", net.weight.norm().item())
    torch.save(net.state_dict(), "last.pt")
