import flor_ray as flor
def main():
    class State:
        def __init__(self): self.n, self.log = 0, []
    state = State()
    flor.checkpointing()
    for epoch in flor.loop("epoch", range(4)):
        for step in flor.loop("step", range(2)):
            state.n += 1
            state.log.append(step)
        flor.log("tail", [state.n, len(state.log)])
    flor.log("after", state.n)
main()
