import flor_ray as flor
count = 0
def bump():
    global count
    count += 1
    return count
flor.checkpointing()
for epoch in flor.loop("epoch", range(5)):
    for step in flor.loop("step", range(2)):
        bump()
        flor.log("inner", count)
    flor.log("tail", count)
x = bump()
flor.log("suffix", x)
