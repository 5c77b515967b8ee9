import flor_ray as flor
n = 0
for fold in range(1):
    for warm in flor.loop("warm", range(2)):
        n += 1
    flor.checkpointing()
    for epoch in flor.loop("epoch", range(4)):
        k = 0
        while k < 3:
            n += k
            k += 1
        for step in flor.loop("step", range(2)):
            n += 1
        flor.log("tail", [n, k])
    flor.log("after", n)
