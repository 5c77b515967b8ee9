import flor_ray as flor
class Base:
    __slots__ = ("n", "__x")
    def __init__(self): self.n = 0; self.__x = 1
    def x(self): self.__x += 1; return self.__x
class Child(Base):
    __slots__ = ("m",)
class Mode:
    def __init__(self, k): self.k = k; self.c = 0
class T:
    def __init__(self): self.b = Child(); self.b.m = 0; self.mode = Mode(0); self.modes = [self.mode]
    def step(self):
        self.b.n += 1; self.b.m += self.b.x(); self.mode.c += 1
    def end(self, e):
        self.mode = Mode(e); self.modes.append(self.mode)
t = T()
flor.checkpointing()
for epoch in flor.loop("epoch", range(4)):
    for step in flor.loop("step", range(2)):
        t.step()
    t.end(epoch)
    flor.log("tail", [t.b.n, t.b.m, [m.c for m in t.modes], t.modes[-1] is t.mode])
flor.log("suffix", [t.b.n, t.b.m, [m.c for m in t.modes]])
