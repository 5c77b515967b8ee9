import flor_ray as flor
def gen():
    n = 0
    while True:
        n += 1
        yield n
def run(epoch):
    g = gen()
    total = 0
    for step in flor.loop("step", range(3)):
        total += next(g)
    return total + next(g)
out = 0
flor.checkpointing()
for epoch in flor.loop("epoch", range(4)):
    out += run(epoch)
    flor.log("tail", out)
flor.log("suffix", out)
