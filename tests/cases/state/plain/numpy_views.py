import flor_ray as flor
import numpy as np
table = np.zeros((4, 3))
row = table[1]
flor.checkpointing()
for epoch in flor.loop("epoch", range(4)):
    for step in flor.loop("step", range(2)):
        row += 1
        table[2] += row
    flor.log("tail", table)
flor.log("suffix", table)
