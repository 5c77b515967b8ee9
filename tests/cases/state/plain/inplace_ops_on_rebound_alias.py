import flor_ray as flor
import numpy as np
w = np.zeros(3); params = {"w": w}
v = [0]; hold = (v,)
flor.checkpointing()
for epoch in flor.loop("epoch", range(4)):
    for step in flor.loop("step", range(2)):
        w += 1
        v += [step]
    flor.log("tail", [float(params["w"].sum()), len(hold[0])])
flor.log("suffix", [float(params["w"].sum()), len(hold[0])])
