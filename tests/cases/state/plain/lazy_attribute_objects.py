import flor_ray as flor
class Meter:
    def __init__(self): self.v = 0
    def add(self, x): self.v += x
class T:
    def step(self, x):
        if not hasattr(self, "meter"):
            self.meter = Meter()
        self.meter.add(x)
t = T()
flor.checkpointing()
for epoch in flor.loop("epoch", range(4)):
    for step in flor.loop("step", range(2)):
        if epoch >= 1: t.step(step + 1)
    flor.log("tail", [getattr(getattr(t, "meter", None), "v", -1)])
flor.log("suffix", t.meter.v)
