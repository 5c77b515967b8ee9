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
    for step in flor.loop("step", source):
        total += step
        if step % 3 == 0:
            break
    flor.log("tail", total)
flor.log("suffix", total)
