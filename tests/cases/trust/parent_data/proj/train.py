import argparse

import torch

import flor_ray as flor

ap = argparse.ArgumentParser()
ap.add_argument("--data", default="../data/x.pt")
args = ap.parse_args()
x = torch.load(args.data)
net = torch.nn.Linear(4, 1)
#H flor.log("rows", len(x))
opt = torch.optim.SGD(net.parameters(), lr=0.01)
flor.checkpointing(net=net, opt=opt)
for epoch in flor.loop("epoch", range(2)):
    loss = net(x).pow(2).mean()
    opt.zero_grad()
    loss.backward()
    opt.step()
#H     flor.log("wn", net.weight.norm().item())
    flor.log("loss", loss.item())
