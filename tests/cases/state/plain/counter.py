import flor_ray as flor
total = 0
flor.checkpointing()
for epoch in flor.loop("epoch", range(5)):
    flor.log("head", total)
    for step in flor.loop("step", range(3)):
        total += step + 1
        flor.log("inner", total)
    flor.log("tail", total)
flor.log("suffix", total)
