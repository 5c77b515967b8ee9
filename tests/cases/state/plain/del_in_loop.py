import flor_ray as flor
x, seen = 5, 0
flor.checkpointing()
for epoch in flor.loop("epoch", range(4)):
    for step in flor.loop("step", range(2)):
        tmp = [step]
        seen += len(tmp)
        del tmp
    if epoch == 1:
        del x
    flor.log("tail", [seen, "x" in globals(), "tmp" in globals()])
flor.log("suffix", "x" in globals())
