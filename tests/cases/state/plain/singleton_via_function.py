import flor_ray as flor
class Registry:
    def __init__(self): self.n = 0
_registry = Registry()
def registry():
    return _registry
flor.checkpointing()
for epoch in flor.loop("epoch", range(5)):
    for step in flor.loop("step", range(2)):
        registry().n += 1
    flor.log("tail", registry().n)
flor.log("suffix", registry().n)
