import flor_ray as flor
n, v = 0, 0
flor.checkpointing()
for epoch in flor.loop("epoch", range(4)):
    for step in flor.loop("step", range(2)):
        n += 1
        for deep in flor.loop("deep", range(2)):
            n += deep
            flor.log("inner", n)
    for step in flor.loop("validate", range(2)):
        v += n
        flor.log("val", v)
    flor.log("tail", [n, v])
flor.log("suffix", [n, v])
