import flor_ray as flor
class Stop(Exception): pass
n = 0
flor.checkpointing()
for epoch in flor.loop("epoch", range(4)):
    try:
        for step in flor.loop("step", range(10)):
            n += 1
            if n % 3 == 0:
                raise Stop
        how = "end"
    except Stop:
        how = "stop"
    flor.log("tail", [n, how])
flor.log("suffix", how)
