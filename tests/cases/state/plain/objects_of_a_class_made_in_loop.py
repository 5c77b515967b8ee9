# not in checkpoints: best
# not in checkpoints: seen
import collections
import flor_ray as flor
seen, best, n = [], None, 0
flor.checkpointing()
for epoch in flor.loop("epoch", range(5)):
    Row = collections.namedtuple("Row", "a b")
    class Box:
        def __init__(self, v): self.v = v
    if epoch in (0, 2):
        best = Box(epoch + 10)
        seen.append(Row(epoch, n))
    for step in flor.loop("step", range(2)):
        n += best.v + len(seen)
    flor.log("tail", [best.v, [list(r) for r in seen], n])
