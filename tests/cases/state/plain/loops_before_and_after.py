import flor_ray as flor
total = 0
for warm in range(3):
    total += warm
flor.checkpointing()
for epoch in flor.loop("epoch", range(4)):
    for step in flor.loop("step", range(2)):
        total += step
    flor.log("tail", total)
for final in flor.loop("final", range(2)):
    total += final
    flor.log("after", total)
flor.log("suffix", [total, final])
