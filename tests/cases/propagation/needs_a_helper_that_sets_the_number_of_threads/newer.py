import flor_ray as flor
import torch
from tools import fit, net


def size_of(m):
    torch.set_num_threads(2)
    return m.size


for i in range(9):
    loss = fit(i)
    flor.log("size", size_of(net))  # carry
    done(loss)
