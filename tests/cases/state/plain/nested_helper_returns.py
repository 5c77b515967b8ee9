import flor_ray as flor
def run_epoch(epoch):
    total = 0
    for step in flor.loop("step", range(10)):
        total += step
        if total > epoch * 3:
            return total
    return -1
out = []
flor.checkpointing()
for epoch in flor.loop("epoch", range(5)):
    value = run_epoch(epoch)
    out.append(value)
    flor.log("tail", value)
flor.log("suffix", out)
