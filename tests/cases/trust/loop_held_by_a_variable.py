# The main loop's iterator is held by a variable: the nested loop must not be taken for the main loop.
epochs = flor.loop("epoch", range(4))
flor.checkpointing()
n = 0
for epoch in epochs:
    for step in flor.loop("step", range(3)):
        n += step
#H         flor.log("steps", [np.geterr()["divide"], n])
    if epoch == 1:
        before = np.seterr(divide="raise")
    if epoch == 3:
        np.seterr(**before)
    n *= 2
#H     flor.log("tail", n)
