import flor_ray as flor
import enum, collections, weakref
class Color(enum.Enum):
    A = 1; B = 2
P = collections.namedtuple("P", "x y")
class Frozen:
    def __init__(self): object.__setattr__(self, "n", 0)
    def __setattr__(self, k, v): raise TypeError
    def bump(self): object.__setattr__(self, "n", self.n + 1)
class Custom:
    def __init__(self): self.n = 0; self.big = list(range(10))
    def __getstate__(self): return {"n": self.n}
    def __setstate__(self, s): self.n = s["n"]; self.big = list(range(10))
class Reduced:
    def __init__(self, n=0): self.n = n
    def __reduce__(self): return Reduced, (self.n,)
class Weak:
    def __init__(self, o): self.ref = weakref.ref(o); self.n = 0
f, c, r = Frozen(), Custom(), Reduced()
w = Weak(f)
alias = {"f": f, "c": c, "r": r, "w": w}
color, p = Color.A, P(0, [])
flor.checkpointing()
for epoch in flor.loop("epoch", range(4)):
    for step in flor.loop("step", range(2)):
        f.bump(); c.n += 1; r.n += 1; w.n += 1
        color = Color.B if color is Color.A else Color.A
        p = P(p.x + 1, p.y); p.y.append(step)
    flor.log("tail", [alias["f"].n, alias["c"].n, alias["r"].n, alias["w"].n, color.name, p.x, p.y, w.ref() is f])
flor.log("suffix", [alias["f"].n, alias["c"].n, alias["r"].n])
