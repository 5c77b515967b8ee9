# not in checkpoints: Source.it
import flor_ray as flor
class Source:
    def __init__(self): self.it = (i for i in range(100)); self.n = 0
    def take(self): self.n += 1; return next(self.it)
s = Source(); total = 0
flor.checkpointing()
for epoch in flor.loop("epoch", range(4)):
    for step in flor.loop("step", range(2)):
        total += s.take()
    flor.log("tail", [total, s.n])
flor.log("suffix", total)
