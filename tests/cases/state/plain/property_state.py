import flor_ray as flor
class Sched:
    def __init__(self): self._t = 0; self.lrs = {}
    @property
    def lr(self): return 1 / (1 + self._t)
    def step(self): self._t += 1; self.lrs[self._t] = self.lr
class Trainer:
    def __init__(self): self.sched = Sched(); self.n = 0
    def train_step(self): self.n += self.sched.lr
t = Trainer()
flor.checkpointing()
for epoch in flor.loop("epoch", range(5)):
    for step in flor.loop("step", range(2)):
        t.train_step()
    t.sched.step()
    flor.log("tail", [t.n, t.sched.lr, len(t.sched.lrs)])
flor.log("suffix", t.n)
