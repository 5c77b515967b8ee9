import builtins
import math
import sys
from unittest import mock

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

import flor_ray as flor


def leaky(x):
    leaky.calls += 1
    return torch.where(x > 0, x, x * 0.1)


leaky.calls = 0


def twice(self):
    return self * 2


def patch(owner, name, new):
    setattr(owner, name, new)


builtins.seen = []
math.tau2 = 6
net = nn.Linear(2, 1)
flor.checkpointing()
for epoch in flor.loop("epoch", range(6)):
    for step in flor.loop("step", range(2)):
        seen.append(F.relu(torch.tensor(-1.0 - step)).item())
    if epoch == 0:
        builtins.extra = 5
        torch.Tensor.twice = twice
        np.mine = [1]
    if epoch == 1:
        F.relu = leaky
        sys.modules["math"].tau2 += 1
        np.mine.append(epoch)
        setattr(torch, f"x_{epoch}", torch.ones(2))
    if epoch == 2:
        patch(torch, "sigmoid", torch.tanh)
        patch(np, "scale", {"a": epoch})
        patch(type(net), "grown", leaky)
        del math.tau2
    if epoch == 3:
        with mock.patch.object(F, "relu", twice):
            seen.append(F.relu(2))
        vars(np)["hidden"] = len(seen)
    if epoch == 4:
        del builtins.extra
        patch(np, "scale", 3)
    flor.log("tail", [sum(seen), len(seen), leaky.calls, hasattr(builtins, "extra"), getattr(math, "tau2", "gone")])
    flor.log("more", [torch.sigmoid(torch.ones(())).item(), str(getattr(np, "scale", "")), hasattr(nn.Linear, "grown")])
    flor.log("set", [np.mine, getattr(np, "hidden", 0), hasattr(torch, "x_1"), F.relu.__name__])
