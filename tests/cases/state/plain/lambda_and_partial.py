import flor_ray as flor
import functools
box = []
push = lambda x: box.append(x)
def add(store, x):
    store["n"] += x
store = {"n": 0}
inc = functools.partial(add, store)
flor.checkpointing()
for epoch in flor.loop("epoch", range(4)):
    for step in flor.loop("step", range(2)):
        push(step)
        inc(1)
    flor.log("tail", [len(box), store["n"]])
flor.log("suffix", [len(box), store["n"]])
