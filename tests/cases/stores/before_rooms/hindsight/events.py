"""A trainer that tells of its epochs and steps by events, as those do to which flor_ray gives a callback."""

import random

import flor_ray as flor
from flor_ray.integrations import TrainerLoops

random.seed(flor.arg("seed", 5))
loops = TrainerLoops()
total = 0.0
for _ in range(3):
    loops.begin_epoch()
    for _ in range(2):
        loops.begin_step()
        total += flor.log("reward", random.random())
        flor.log("doubled", 2 * total)
    loops.end_steps()
    flor.log("total", total)
loops.end()
flor.log("mean", total / 6)
