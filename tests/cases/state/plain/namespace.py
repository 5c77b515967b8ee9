import flor_ray as flor
from argparse import Namespace
from types import SimpleNamespace
args = Namespace(lr=1.0)
box = SimpleNamespace(n=0)
class Model:
    def __init__(self, args):
        self.args = args
    def lr(self):
        return self.args.lr
model = Model(args)
def decay(a):
    a.lr *= 0.5
flor.checkpointing()
for epoch in flor.loop("epoch", range(4)):
    for step in flor.loop("step", range(2)):
        decay(args)
        box.n += 1
    flor.log("tail", [model.lr(), box.n])
flor.log("suffix", model.lr())
