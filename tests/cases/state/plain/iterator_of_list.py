import flor_ray as flor
source = iter(list(range(100)))
total = 0
def take(it):
    return next(it)
flor.checkpointing()
for epoch in flor.loop("epoch", range(4)):
    for step in flor.loop("step", range(2)):
        total += take(source)
    flor.log("tail", total)
total += next(source)
flor.log("suffix", total)
