import flor_ray as flor
import dataclasses
@dataclasses.dataclass(slots=True)
class State:
    n: int = 0
    seen: list = dataclasses.field(default_factory=list)
class Holder:
    __slots__ = ("state", "x")
    def __init__(self, state):
        self.state = state
        self.x = 0
state = State()
holder = Holder(state)
def work(h):
    h.state.n += 1
    h.x += 2
    h.state.seen.append(h.x)
flor.checkpointing()
for epoch in flor.loop("epoch", range(4)):
    for step in flor.loop("step", range(2)):
        work(holder)
    flor.log("tail", [state.n, holder.x, len(state.seen)])
flor.log("suffix", [state.n, holder.x])
