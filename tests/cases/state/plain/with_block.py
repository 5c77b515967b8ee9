import flor_ray as flor
state = {"n": 0}
with flor.checkpointing(state=state):
    for epoch in flor.loop("epoch", range(4)):
        with open(__file__) as f:
            for step in flor.loop("step", range(3)):
                state["n"] += step
        flor.log("tail", state["n"])
flor.log("suffix", state["n"])
