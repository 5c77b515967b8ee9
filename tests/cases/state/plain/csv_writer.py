import flor_ray as flor
import csv, io, tempfile
f = tempfile.TemporaryFile("w")
w = csv.writer(f)
n = 0
flor.checkpointing()
for epoch in flor.loop("epoch", range(4)):
    for step in flor.loop("step", range(2)):
        n += 1; w.writerow([n])
    flor.log("tail", n)
flor.log("suffix", n)
