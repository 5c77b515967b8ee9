import flor_ray as flor
state = None
def init():
    global state
    state = {"n": 0, "l": []}
def bump():
    state["n"] += 1; state["l"].append(state["n"])
flor.checkpointing()
for epoch in flor.loop("epoch", range(4)):
    if epoch == 0:
        init()
    for step in flor.loop("step", range(2)):
        bump()
    flor.log("tail", [state["n"], len(state["l"])])
flor.log("suffix", state["n"])
