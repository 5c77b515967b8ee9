"""Grows until it is large enough: a `while` loop, told with flor.iteration."""

import random

import flor_ray as flor

random.seed(flor.arg("seed", 3))
state = {"size": 1.0, "trail": []}
flor.checkpointing(state=state)
while state["size"] < flor.arg("enough", 5.0):
    with flor.iteration("round"):
        for _ in range(2):
            with flor.iteration("try"):
                gain = flor.log("gain", random.random())
                state["size"] *= 1 + gain
        state["trail"].append(state["size"])
        flor.log("size", state["size"])
flor.log("trail", state["trail"])
