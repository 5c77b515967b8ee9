import flor_ray as flor
import functools
class A:
    def __init__(self): self.n = 0
    @functools.cached_property
    def first(self): self.n += 1; return self.n
    @property
    def double(self): return self.n * 2
@functools.lru_cache
def pure(x): return x * x
a = A(); s = 0
flor.checkpointing()
for epoch in flor.loop("epoch", range(4)):
    for step in flor.loop("step", range(2)):
        s += a.first + pure(step) + a.double
    a.n += 1
    flor.log("tail", [s, a.n])
flor.log("suffix", s)
