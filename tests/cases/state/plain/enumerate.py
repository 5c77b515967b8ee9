# not in checkpoints: a position in enumerate(...)
import flor_ray as flor
n = 0
flor.checkpointing()
for i, epoch in enumerate(flor.loop("epoch", ["a", "b", "c", "d", "e"])):
    for j, step in enumerate(flor.loop("step", range(2))):
        n += i + j
        flor.log("inner", [n, j])
    flor.log("tail", [i, epoch, n])
flor.log("suffix", [n, i])
