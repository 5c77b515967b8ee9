import flor_ray as flor
seen, buf, tup = set(), bytearray(), ((1, []),)
flor.checkpointing()
for epoch in flor.loop("epoch", range(4)):
    for step in flor.loop("step", range(2)):
        seen.add(epoch * step)
        buf.append(step)
        tup[0][1].append(step)
    flor.log("tail", [sorted(seen), len(buf), len(tup[0][1])])
flor.log("suffix", [sorted(seen), len(buf), len(tup[0][1])])
