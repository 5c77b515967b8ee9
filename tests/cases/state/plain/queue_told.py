import queue
import flor_ray as flor
q = queue.Queue()
for n in range(99):
    q.put(n)
total = 0
flor.checkpointing()
for epoch in flor.loop("epoch", range(4)):
    for step in flor.loop("step", range(2)):
        total += q.get()
    flor.log("tail", total)
flor.log("suffix", total)
