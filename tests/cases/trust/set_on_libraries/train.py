# Attributes that the project sets on modules of libraries while it trains, in another file and by its helpers.
import builtins
import math

import torch
import torch.nn.functional as F

import flor_ray as flor
import patches

x = torch.linspace(-1, 1, 8)
flor.checkpointing()
for epoch in flor.loop("epoch", range(6)):
    for step in flor.loop("step", range(2)):
        x = F.relu(x) - 0.1
    if epoch == 1:
        hard = patches.soften()
        torch.scale = [epoch]
    if epoch == 3:
        patches.raise_tau(epoch)
        builtins.bonus = 5
        torch.scale.append(epoch)
    if epoch == 4:
        F.relu = hard
        del builtins.bonus
#H     flor.log("x", x.sum().item())
#H     flor.log("set", [hasattr(builtins, "bonus"), getattr(math, "my_tau", None), getattr(torch, "scale", None)])
#H     flor.log("calls", [patches.leaky.calls, F.relu.__name__])
#H flor.log("end", [math.my_tau, torch.scale, patches.leaky.calls])
