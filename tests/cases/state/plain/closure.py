import flor_ray as flor
def counter():
    n = 0
    seen = []
    def bump():
        nonlocal n
        n += 1
        seen.append(n)
        return n + len(seen)
    return bump
bump = counter()
other = counter()
flor.checkpointing()
for epoch in flor.loop("epoch", range(5)):
    for step in flor.loop("step", range(2)):
        x = bump()
        flor.log("inner", x)
    y = other()
    flor.log("tail", y)
y = bump() + other()
flor.log("suffix", y)
