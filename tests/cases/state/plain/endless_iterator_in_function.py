# not in checkpoints: data
import flor_ray as flor
def cycle(items):
    while True: yield from items
def sample(): return next(data)
class Model:
    def __init__(self): self.n = 0
    def step(self): self.n += sample()
def evaluate(model): return model.n * 2
data, model = cycle([1, 2, 3]), Model()
flor.checkpointing()
for epoch in flor.loop("epoch", range(4)):
    for step in flor.loop("step", range(2)):
        model.step()
    flor.log("tail", evaluate(model))
flor.log("suffix", model.n)
