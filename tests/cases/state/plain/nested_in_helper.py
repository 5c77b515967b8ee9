import flor_ray as flor
import random
def run_epoch(state, seen):
    total, count = 0.0, 0
    for step in flor.loop("step", range(3)):
        total += random.random()
        count += 1
        state["w"] += total
        flor.log("inner", total)
    seen.append(count)
    return total / count
state, seen, hist = {"w": 0.0}, [], []
flor.checkpointing(state=state)
for epoch in flor.loop("epoch", range(5)):
    mean = run_epoch(state, seen)
    hist.append(mean)
    flor.log("tail", [mean, state["w"], len(seen), sum(hist)])
flor.log("suffix", [sum(hist), len(seen)])
