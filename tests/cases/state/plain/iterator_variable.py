import flor_ray as flor
total = 0
flor.checkpointing()
epochs = flor.loop("epoch", range(4))
for epoch in epochs:
    steps = flor.loop("step", range(2))
    for step in steps:
        total += step + epoch
    flor.log("tail", total)
flor.log("suffix", total)
