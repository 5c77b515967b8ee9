import flor_ray as flor
class Stats:
    def __init__(self): self.n = 0
def fit(stats, extra):
    flor.checkpointing()
    for epoch in flor.loop("epoch", range(4)):
        for step in flor.loop("step", range(2)):
            stats.n += 1
        extra.append(stats.n)
        flor.log("tail", stats.n)
def main():
    stats, extra = Stats(), []
    fit(stats, extra)
    flor.log("after", [stats.n, len(extra)])
main()
