import flor_ray as flor
import functools
calls = []
def traced(f):
    count = 0
    @functools.wraps(f)
    def inner(*a):
        nonlocal count
        count += 1
        calls.append(count)
        return f(*a) + count
    return inner
class T:
    total = 0
    @classmethod
    def add(cls, x): cls.total += x; return cls.total
    @staticmethod
    @traced
    def sq(x): return x * x
@traced
def work(x): return x
acc = 0
flor.checkpointing()
for epoch in flor.loop("epoch", range(4)):
    for step in flor.loop("step", range(2)):
        acc += work(step) + T.add(step) + T.sq(step)
    flor.log("tail", [acc, T.total, len(calls)])
flor.log("suffix", [acc, T.total])
