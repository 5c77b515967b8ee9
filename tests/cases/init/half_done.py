import torch
from torch import nn

import flor_ray as fr

lr = fr.arg("lr", 0.1)
momentum = 0.9
net = nn.Linear(4, 1)
opt = torch.optim.SGD(net.parameters(), lr=lr, momentum=momentum)
data = torch.randn(16, 4)
for epoch in fr.loop("epoch", range(3)):
    for batch in data.split(4):
        opt.zero_grad()
        net(batch).pow(2).mean().backward()
        opt.step()
    # hindsight: fr.log("norm", net.weight.norm().item())
