import flor_ray as flor
import random
order = list(range(8)); chosen = []
flor.checkpointing()
for epoch in flor.loop("epoch", range(4)):
    random.shuffle(order)
    for i in flor.loop("step", order):
        if i > 5: break
        chosen.append(i * random.random())
        flor.log("inner", chosen[-1])
    flor.log("tail", [order, len(chosen)])
flor.log("suffix", [order, sum(chosen)])
