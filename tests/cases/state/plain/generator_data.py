# not in checkpoints: source
import flor_ray as flor
def data():
    n = 0
    while True:
        n += 1
        yield n
source = data()
total = 0
flor.checkpointing()
for epoch in flor.loop("epoch", range(4)):
    for step in flor.loop("step", range(2)):
        total += next(source)
    flor.log("tail", total)
flor.log("suffix", total)
