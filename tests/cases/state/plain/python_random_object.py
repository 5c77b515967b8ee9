import flor_ray as flor
import random
gen = random.Random(1)
class Aug:
    def __init__(self):
        self.gen = random.Random(2)
    def __call__(self, x):
        return x + self.gen.random()
aug = Aug()
total = 0
flor.checkpointing()
for epoch in flor.loop("epoch", range(4)):
    for step in flor.loop("step", range(2)):
        total += aug(gen.random())
        flor.log("inner", total)
    flor.log("tail", total)
total += aug(0)
flor.log("suffix", total)
