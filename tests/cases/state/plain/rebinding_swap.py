import flor_ray as flor
cur, prev = [0], [1]
pair = (cur, prev)
flor.checkpointing()
for epoch in flor.loop("epoch", range(5)):
    for step in flor.loop("step", range(1)):
        cur.append(step)
    cur, prev = prev, cur
    flor.log("tail", [len(cur), len(prev), len(pair[0]), len(pair[1])])
flor.log("suffix", [len(cur), len(prev), len(pair[0])])
