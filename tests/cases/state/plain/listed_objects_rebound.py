import flor_ray as flor
class Box:
    def __init__(self): self.n = 0
    def state_dict(self): return {"n": self.n}
    def load_state_dict(self, s): self.n = s["n"]
a, b = Box(), Box()
flor.checkpointing(a=a, b=b)
for epoch in flor.loop("epoch", range(5)):
    for step in flor.loop("step", range(2)):
        a.n += 1
    flor.log("tail", [a.n, b.n])
    a, b = b, a
flor.log("suffix", [a.n, b.n])
