import flor_ray as flor
import numpy as np
rng = np.random.default_rng(1)
old = np.random.RandomState(3)
def draw():
    return rng.normal() + old.rand() + np.random.rand()
w = np.zeros(4)
def update(w):
    w += draw()
flor.checkpointing()
for epoch in flor.loop("epoch", range(4)):
    for step in flor.loop("step", range(2)):
        update(w)
        flor.log("inner", w)
    flor.log("tail", w.sum())
flor.log("suffix", w)
