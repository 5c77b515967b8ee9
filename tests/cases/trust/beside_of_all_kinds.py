# beside_of_all_kinds
# Expected: of objects that nothing in the loop names, those are kept that a restore can fill, and no other stops one.
# Conditions: {"where": ["epoch == 3", null]}
import enum, dataclasses, typing, pathlib, collections, threading, queue
class NT(typing.NamedTuple):
    a: int
nt = NT(1)
@dataclasses.dataclass(frozen=True)
class Frozen:
    a: int = 1
frozen = Frozen()
class MyInt(int): pass
class MySet(frozenset): pass
class MyErr(Exception): pass
class Reduce:
    def __init__(self, n): self.n = n
    def __reduce__(self): return (Reduce, (self.n,))
class Bad:
    def __reduce__(self): raise RuntimeError("no pickles")
class Thread(threading.Thread):
    def run(self): pass
class Q(queue.Queue): pass
class Gen:
    def __iter__(self): return self
    def __next__(self): return 1
mi, mf, me, re_, bad, th, qu, ge = MyInt(3), MySet([1]), MyErr("e"), Reduce(4), Bad(), Thread(), Q(), Gen()
net = nn.Linear(4, 1); opt = torch.optim.SGD(net.parameters(), lr=0.1)
with flor.checkpointing(net=net, opt=opt):
    for epoch in flor.loop("epoch", range(5)):
        for step in flor.loop("step", range(2)):
            loss = train(net, opt)
        flor.log("loss", loss)
#H         flor.log("w", total(net))
#H         flor.log("r", [nt.a, frozen.a, int(mi), re_.n])
