import flor_ray as flor
class Meter:
    count = 0
    all = []
    def __init__(self):
        self.n = 0
    def update(self, x):
        Meter.count += 1
        self.all.append(x)
        self.n += x
meter = Meter()
flor.checkpointing()
for epoch in flor.loop("epoch", range(5)):
    for step in flor.loop("step", range(2)):
        meter.update(step)
    flor.log("tail", [Meter.count, len(Meter.all), meter.n])
flor.log("suffix", [Meter.count, len(Meter.all), meter.n])
