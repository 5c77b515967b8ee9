import flor_ray as flor
class Trainer:
    def __init__(self):
        self.step = 0
        self.log = {"a": []}
        self.inner = self.log["a"]
    def fit(self):
        flor.checkpointing()
        for epoch in flor.loop("epoch", range(5)):
            flor.log("head", self.step)
            for i in flor.loop("step", range(3)):
                self.step += 1
                self.inner.append(i)
            flor.log("tail", [self.step, len(self.log["a"])])
        flor.log("after", [self.step, len(self.log["a"])])
trainer = Trainer()
trainer.fit()
flor.log("suffix", trainer.step)
