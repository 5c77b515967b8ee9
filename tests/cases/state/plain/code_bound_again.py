import functools
import flor_ray as flor
def timed(f):
    @functools.wraps(f)
    def inner(*given): return f(*given) + 1
    return inner
n = 1.0
flor.checkpointing()
for epoch in flor.loop("epoch", range(5)):
    scale = lambda v: v * (epoch + 1)
    @timed
    def decorated(v): return v + epoch
    class Meter:
        total = 0
        def add(self, v): Meter.total += v; return Meter.total
    half = functools.partial(lambda v, by: v / by, by=2)
    def down(v): return v if v < 1 else down(v - 1)
    for step in flor.loop("step", range(2)):
        def inner(v): return v + step
        n = half(scale(inner(decorated(n)))) % 97
        Meter().add(n)
    flor.log("tail", [n, scale(1), decorated(1), Meter.total, half(3), down(n)])
flor.log("suffix", n)
