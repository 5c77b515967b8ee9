import flor_ray as flor
class Stop:
    def __init__(self): self.n = 0; self.hist = []
    def on_end(self, x): self.n += 1; self.hist.append(x)
s = Stop()
callbacks = [s.on_end, lambda x: s.hist.append(-x)]
def fire(x):
    for c in callbacks: c(x)
flor.checkpointing()
for epoch in flor.loop("epoch", range(4)):
    for step in flor.loop("step", range(2)):
        fire(step)
    flor.log("tail", [s.n, s.hist])
flor.log("suffix", [s.n, s.hist])
