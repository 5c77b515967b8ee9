import flor_ray as flor
import torch
from tools import fit, net


for i in range(9):
    loss = fit(i)
    done(loss)
