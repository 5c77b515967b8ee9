import flor_ray as flor
import copy
class Box:
    def __init__(self): self.n = 0
    def state_dict(self): return {"n": self.n}
    def load_state_dict(self, s): self.n = s["n"]
net, best = Box(), None
flor.checkpointing(net=net)
for epoch in flor.loop("epoch", range(5)):
    for step in flor.loop("step", range(2)):
        net.n += 1
    if epoch % 2 == 1:
        best = copy.deepcopy(net)
    flor.log("tail", [net.n, best.n if best else None])
flor.log("suffix", best.n)
