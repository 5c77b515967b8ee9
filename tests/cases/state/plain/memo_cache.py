import flor_ray as flor
import functools
calls = 0
@functools.lru_cache(None)
def slow(x):
    global calls
    calls += 1
    return x * 2
flor.checkpointing()
for epoch in flor.loop("epoch", range(4)):
    for step in flor.loop("step", range(3)):
        slow(epoch // 2 + step)
    flor.log("tail", calls)
flor.log("suffix", calls)
