import flor_ray as flor
class Model:
    def forward(self, v): return v + 1
    def other(self, v): return v * 5
    def __call__(self, v): return self.forward(v)
class Sub(Model): pass
model, n = Sub(), 1
flor.checkpointing()
for epoch in flor.loop("epoch", range(6)):
    if epoch == 1: Model.forward = Model.other
    if epoch == 3: Sub.__call__ = Model.other
    for step in flor.loop("step", range(2)):
        n = model(n) % 1009
    flor.log("tail", [n, model(3), model.forward(2)])
