import flor_ray as flor
xs = [[1, 2], [3, 4], [5, 6], [7, 8]]
total = 0
flor.checkpointing()
for epoch in flor.loop("epoch", xs):
    for x in flor.loop("step", epoch):
        total += x
        if total > 20:
            break
        flor.log("inner", total)
    flor.log("tail", [total, epoch])
flor.log("suffix", total)
