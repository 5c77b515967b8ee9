# loop_in_comprehension
# Epochs that are over before the `for` around them begins, and epochs that run while it does.
w = 0


def step(b):
    global w
    w += b
#H     flor.log("in_step", w)
    return w


flor.checkpointing()
for value in [step(b) for b in flor.loop("epoch", range(4))]:
    flor.log("value", value)
#H     flor.log("after", w)
