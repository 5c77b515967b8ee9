import os
import flor_ray as flor
total = 0
flor.checkpointing()
for epoch in flor.loop("epoch", range(5)):
    for step in flor.loop("step", range(2)):
        total += step + epoch
    if epoch % 2 == 0:
        with open(os.devnull, "a") as f:
            f.write(str(total))
    flor.log("tail", total)
with open(os.devnull, "w") as f:
    f.write("x")
for total_again in (1, 2):
    pass
flor.log("suffix", total)
