import flor_ray as flor
history = []
def note(x):
    history.append(x)
def total():
    return sum(history)
flor.checkpointing()
for epoch in flor.loop("epoch", range(5)):
    for step in flor.loop("step", range(2)):
        note(epoch + step)
    flor.log("tail", total())
flor.log("suffix", total())
