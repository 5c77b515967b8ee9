# module_made_by_hand
# Expected: a module of no file is the user's, and what is in it is state.
# Conditions: {"where": ["epoch == 3", null]}
import types, functools
mod = types.ModuleType("helper_mod"); sys.modules["helper_mod"] = mod
exec("count = 0\ndef bump():\n    global count\n    count += 1\n    return count", mod.__dict__)
import helper_mod
class Reg:
    table = {}
    @classmethod
    def add(cls, k): cls.table.setdefault(k, 0); cls.table[k] += 1
def f(x, memo={}):
    memo[x] = memo.get(x, 0) + 1
    return memo
flor.checkpointing()
for epoch in flor.loop("epoch", range(5)):
    for step in flor.loop("step", range(2)):
        helper_mod.bump(); Reg.add(step); f(epoch)
        f.calls = getattr(f, "calls", 0) + 1
    flor.log("epoch_seen", epoch)
#H     flor.log("count", helper_mod.count)
#H     flor.log("table", dict(Reg.table))
#H     flor.log("memo", dict(f.__defaults__[0]))
#H     flor.log("calls", f.calls)
