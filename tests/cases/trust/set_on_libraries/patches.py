import math

import torch.nn.functional as F


def leaky(x):
    leaky.calls += 1
    return x * 0.1


leaky.calls = 0


def swap(owner, name, new):
    old = getattr(owner, name)
    setattr(owner, name, new)
    return old


def soften():
    return swap(F, "relu", leaky)


def raise_tau(by):
    math.my_tau = getattr(math, "my_tau", 0) + by
