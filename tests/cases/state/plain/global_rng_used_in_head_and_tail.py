import flor_ray as flor
import random
w = 0.0
flor.checkpointing()
for epoch in flor.loop("epoch", range(4)):
    w += random.random()
    flor.log("head", w)
    for step in flor.loop("step", random.sample(range(10), 3)):
        w += random.random() * step
    w += random.random()
    flor.log("tail", w)
w += random.random()
flor.log("suffix", w)
