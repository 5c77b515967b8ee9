import flor_ray as flor
def main():
    seen = []
    n = 0
    def note(x):
        nonlocal n
        n += x
        seen.append(n)
    flor.checkpointing()
    for epoch in flor.loop("epoch", range(4)):
        for step in flor.loop("step", range(2)):
            note(step + 1)
        flor.log("tail", [n, len(seen)])
    flor.log("after", [n, len(seen)])
    return n
got = main()
flor.log("suffix", got)
