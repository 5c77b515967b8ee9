# not in checkpoints: f
import flor_ray as flor
def double(x): return 2 * x
def triple(x): return 3 * x
f = double; n = 1
flor.checkpointing()
for epoch in flor.loop("epoch", range(4)):
    if epoch == 1: f = triple
    if epoch == 2: f = lambda x: x + 1
    for step in flor.loop("step", range(2)):
        n = f(n)
    flor.log("tail", n)
flor.log("suffix", n)
