import flor_ray as flor
def f(x, cache=[]):
    f.calls += 1
    cache.append(x)
    return f.calls + len(cache)
f.calls = 0
flor.checkpointing()
for epoch in flor.loop("epoch", range(5)):
    for step in flor.loop("step", range(2)):
        x = f(step)
        flor.log("inner", x)
    y = f(0)
    flor.log("tail", y)
z = f(0)
flor.log("suffix", z)
