import flor_ray as flor
a = []; a.append(a)
d = {"self": None}; d["self"] = d
class N: pass
x = N(); x.me = x; x.list = [x]; x.n = 0
flor.checkpointing()
for epoch in flor.loop("epoch", range(4)):
    for step in flor.loop("step", range(2)):
        x.list[0].me.n += 1; d["self"]["k"] = epoch; a.append(step)
    flor.log("tail", [x.n, d["k"], len(a), a[0] is a, d["self"] is d, x.list[0] is x])
flor.log("suffix", [x.n, len(a)])
