import flor_ray as flor
c = {k: {"n": 0} for k in "ab"}
flor.checkpointing()
for epoch in flor.loop("epoch", range(4)):
    for step in flor.loop("step", range(2)):
        [v.__setitem__("n", v["n"] + 1) for v in c.values()]
    flor.log("tail", c)
flor.log("suffix", c)
