import flor_ray as flor
losses = []
def note(x):
    losses.append(x)
flor.checkpointing()
for epoch in flor.loop("epoch", range(4)):
    for step in flor.loop("step", range(2)):
        for k in range(3000):
            losses.append(k * step)
    flor.log("tail", [len(losses), sum(losses)])
flor.log("suffix", len(losses))
