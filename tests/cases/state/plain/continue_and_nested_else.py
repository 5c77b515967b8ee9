import flor_ray as flor
n, evens = 0, []
flor.checkpointing()
for epoch in flor.loop("epoch", range(5)):
    if epoch == 2:
        continue
    for step in flor.loop("step", range(3)):
        if step == 1: continue
        n += step + epoch
    else:
        evens.append(epoch)
    flor.log("tail", [n, len(evens)])
else:
    n += 100
flor.log("suffix", [n, evens])
