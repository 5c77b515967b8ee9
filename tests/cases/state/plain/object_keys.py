import flor_ray as flor
class K: pass
k1, k2 = K(), K()
score = {k1: 0, k2: 0}
members = {k1}
flor.checkpointing()
for epoch in flor.loop("epoch", range(4)):
    for step in flor.loop("step", range(2)):
        score[k1] += 1; score[k2] += step
    flor.log("tail", [score[k1], score[k2], k1 in members, len(score)])
flor.log("suffix", [score[k1], score[k2]])
