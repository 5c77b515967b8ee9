import numpy as np
import torch
import flor_ray as flor
import data
#H flor.log("rows", len(data.X))
net = torch.nn.Linear(4, 1)
#H flor.log("w0", net.weight.norm().item())
for epoch in flor.loop("epoch", range(3)):
    loss = net(data.X[epoch]).sum()
    flor.log("loss", loss.item())
#H     flor.log("loss2", loss.item() * 2)
