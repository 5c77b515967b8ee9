import flor_ray as flor
n, v = 0, 0
flor.checkpointing()
for epoch in flor.loop("epoch", range(5)):
    if epoch % 2:
        for step in flor.loop("step", range(2)):
            n += 1
            flor.log("inner", n)
    else:
        v += 1
    flor.log("tail", [n, v])
flor.log("suffix", [n, v])
