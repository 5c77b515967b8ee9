import flor_ray as flor
history = {"loss": []}
losses = history["loss"]
flor.checkpointing()
for epoch in flor.loop("epoch", range(5)):
    for step in flor.loop("step", range(2)):
        losses.append(epoch * step)
        flor.log("inner", history)
    history["n"] = len(losses)
    flor.log("tail", history)
flor.log("suffix", history)
