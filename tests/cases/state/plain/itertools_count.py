import flor_ray as flor
import itertools
ids = itertools.count()
order = itertools.cycle([3, 1, 2])
total = 0
flor.checkpointing()
for epoch in flor.loop("epoch", range(4)):
    for step in flor.loop("step", range(2)):
        total += next(ids) * next(order)
    flor.log("tail", total)
flor.log("suffix", total)
