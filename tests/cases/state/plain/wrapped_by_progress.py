import flor_ray as flor
class tqdm:
    def __init__(self, it, **k): self.it = it; self.n = 0
    def __iter__(self):
        for x in self.it:
            yield x
            self.n += 1
total = 0
flor.checkpointing()
for epoch in tqdm(flor.loop("epoch", range(4)), desc="x"):
    bar = tqdm(flor.loop("step", range(3)))
    for step in bar:
        total += step
        if step == 1: break
        flor.log("inner", total)
    flor.log("tail", total)
flor.log("suffix", total)
