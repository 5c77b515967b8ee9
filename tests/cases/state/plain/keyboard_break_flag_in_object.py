import flor_ray as flor
class Flag:
    def __init__(self): self.stop = False; self.i = 0
flag = Flag()
flor.checkpointing()
for epoch in flor.loop("epoch", range(20)):
    while True:
        flag.i += 1
        if flag.i % 3 == 0: break
    for step in flor.loop("step", range(2)):
        flag.i += step
    flag.stop = flag.i > 9
    flor.log("tail", [flag.i, flag.stop])
    if flag.stop: break
flor.log("suffix", flag.i)
