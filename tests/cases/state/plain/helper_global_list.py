import flor_ray as flor
history = []
def note(x):
    history.append(x)
flor.checkpointing()
for epoch in flor.loop("epoch", range(5)):
    for step in flor.loop("step", range(2)):
        note(epoch + step)
    flor.log("tail", sum(history))
flor.log("suffix", list(history))
