# left_out_of_pickles
# Expected: what classes leave out when they are pickled is there again; what nobody can pickle, they make themselves.
# Conditions: {"where": ["epoch == 4", null]}
import threading


class Slot:
    def __init__(self, n=0):
        self.n, self.seen = n, []

    def __reduce__(self):
        return Slot, (self.n,)


class Cache:
    def __init__(self):
        self.lock, self.found, self.n = threading.Lock(), {}, 0

    def __getstate__(self):
        return {"n": self.n, "found": {}}

    def __setstate__(self, state):
        self.__dict__.update(state)
        self.lock = threading.Lock()

    def get(self, key):
        with self.lock:
            self.n += 1
            return self.found.setdefault(key, self.n)


slot, cache = Slot(), Cache()
cache.slot, slot.cache = slot, cache
with flor.checkpointing():
    for epoch in flor.loop("epoch", range(5)):
        slot.n += 1
        slot.seen.append(epoch)
        for step in flor.loop("step", range(2)):
            x = cache.get(step)
#H             flor.log("x", x)
        flor.log("n", cache.n)
#H         flor.log("tail", [slot.n, len(slot.seen), len(cache.found), cache.slot is slot, slot.cache is cache])
