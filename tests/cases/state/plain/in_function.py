import flor_ray as flor
import random
def train(n):
    state = {"w": 0.0}
    best = None
    flor.checkpointing(state=state)
    for epoch in flor.loop("epoch", range(n)):
        acc = 0
        flor.log("head", best)
        for step in flor.loop("step", range(3)):
            acc += random.random()
            state["w"] += acc
            flor.log("inner", acc)
        best = acc if best is None else max(best, acc)
        flor.log("tail", [best, state["w"]])
    flor.log("after", [best, state["w"]])
    return best
result = train(5)
flor.log("suffix", result)
