import flor_ray as flor
n, how = 0, ""
flor.checkpointing()
for epoch in flor.loop("epoch", range(4)):
    for step in flor.loop("step", range(10)):
        n += 1
        if n % 7 == 0:
            break
    else:
        how += "e"
    flor.log("tail", [n, how])
flor.log("suffix", how)
