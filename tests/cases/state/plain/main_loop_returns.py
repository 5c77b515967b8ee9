# not in checkpoints: where the script went on
import flor_ray as flor
def train():
    n = 0
    for epoch in flor.loop("epoch", range(10)):
        for step in flor.loop("step", range(2)):
            n += 1
        flor.log("tail", n)
        if n >= 8:
            return "early"
    return "late"
flor.checkpointing()
how = train()
flor.log("suffix", how)
