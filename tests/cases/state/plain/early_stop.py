import flor_ray as flor
import random
best, patience = 1e9, 0
flor.checkpointing()
for epoch in flor.loop("epoch", range(50)):
    loss = 0
    for step in flor.loop("step", range(3)):
        loss += random.random()
        flor.log("inner", loss)
    if loss < best:
        best, patience = loss, 0
    else:
        patience += 1
    flor.log("tail", [best, patience])
    if patience >= 2:
        break
flor.log("suffix", best)
