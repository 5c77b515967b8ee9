import functools
import random

import flor_ray as flor

random.seed(1)


@functools.lru_cache
def drawn(i):
    return random.random()


flor.checkpointing()
for epoch in flor.loop("epoch", range(4)):
    for step in flor.loop("step", range(2)):
        value = drawn(step)
    flor.log("tail", [value, drawn(epoch % 2)])
