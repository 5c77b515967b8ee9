import flor_ray as flor
class Box: pass
b = Box(); b.n = 0
names = ["n"]
flor.checkpointing()
for epoch in flor.loop("epoch", range(4)):
    for step in flor.loop("step", range(2)):
        vars(b)["n"] += 1
        setattr(b, f"k{epoch}", getattr(b, "n"))
        globals()["sneaky"] = b.n
    flor.log("tail", [sorted(vars(b).items())])
flor.log("suffix", [b.n])
