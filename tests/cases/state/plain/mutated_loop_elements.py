import flor_ray as flor
cfgs = [{"n": i} for i in range(4)]
flor.checkpointing()
for cfg in flor.loop("epoch", cfgs):
    for step in flor.loop("step", range(2)):
        cfg["n"] += 10
    flor.log("tail", [cfg["n"], sum(c["n"] for c in cfgs)])
flor.log("suffix", cfgs)
