import flor_ray as flor
from flor_ray import MTK as Flor
state = {"n": 0}
Flor.checkpoints(state)
total = 0
for epoch in Flor.loop(range(4)):
    for step in Flor.loop(range(3)):
        state["n"] += step
        total += 1
        flor.log("inner", state["n"])
    flor.log("tail", [total, state["n"]])
flor.log("suffix", total)
