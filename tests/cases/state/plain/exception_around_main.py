# not in checkpoints: where the script went on
import flor_ray as flor
class Stop(Exception): pass
n = 0
done = "no"
flor.checkpointing()
try:
    for epoch in flor.loop("epoch", range(10)):
        for step in flor.loop("step", range(2)):
            n += 1
        flor.log("tail", n)
        if n >= 8:
            raise Stop
    done = "end"
except Stop:
    done = "stop"
flor.log("suffix", [n, done])
