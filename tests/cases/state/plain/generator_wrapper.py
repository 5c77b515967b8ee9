# not in checkpoints: a body that cannot be found
import flor_ray as flor
total = 0
def epochs():
    for e in flor.loop("epoch", range(4)):
        yield e
flor.checkpointing()
for epoch in epochs():
    for step in flor.loop("step", range(2)):
        total += step + epoch
    flor.log("tail", total)
flor.log("suffix", total)
