import flor_ray as flor
class Box: pass
box = Box()
d = {}
n = 0
flor.checkpointing()
for box.epoch in flor.loop("epoch", range(4)):
    for d["s"] in flor.loop("step", range(2)):
        n += d["s"] + box.epoch
    flor.log("tail", [n, box.epoch, d["s"]])
flor.log("suffix", [n, box.epoch])
