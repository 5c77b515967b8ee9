import flor_ray as flor
def run(epoch, acc):
    local = []
    best = None
    for step in flor.loop("step", range(3)):
        local.append(step * epoch)
        best = step if best is None else max(best, step)
        acc["n"] += 1
    extra = sum(local) + best
    flor.log("helper", [extra, local])
    return extra
acc = {"n": 0}
out = 0
flor.checkpointing()
for epoch in flor.loop("epoch", range(4)):
    out += run(epoch, acc)
    flor.log("tail", [out, acc["n"]])
flor.log("suffix", out)
