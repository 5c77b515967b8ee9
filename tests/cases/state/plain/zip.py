# not in checkpoints: a position in zip(...)
import flor_ray as flor
n = 0
flor.checkpointing()
for epoch, x in zip(flor.loop("epoch", range(5)), range(10, 20)):
    for step in flor.loop("step", range(2)):
        n += x
    flor.log("tail", [x, n])
flor.log("suffix", n)
