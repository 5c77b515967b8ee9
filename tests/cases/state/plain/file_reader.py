import flor_ray as flor
import io
f = io.StringIO("1\n2\n3\n4\n5\n6\n7\n8\n9\n")
total = 0
flor.checkpointing()
for epoch in flor.loop("epoch", range(4)):
    for step in flor.loop("step", range(2)):
        total += int(f.readline())
    flor.log("tail", total)
flor.log("suffix", total)
