import flor_ray as flor
data = [str(i) * 300 for i in range(2000)]
def touch(d, i):
    d[i] = ""
flor.checkpointing()
for epoch in flor.loop("epoch", range(4)):
    for step in flor.loop("step", range(2)):
        touch(data, epoch * 2 + step)
    flor.log("tail", sum(map(len, data[:20])))
flor.log("suffix", sum(map(len, data[:20])))
