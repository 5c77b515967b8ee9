import flor_ray as flor
class Big:
    def __init__(self): self.data = [str(i) * 300 for i in range(20_000)]; self.n = 0
    def set(self, i): self.data[i] = ""; self.n += 1
big = Big()
flor.checkpointing()
for epoch in flor.loop("epoch", range(3)):
    for step in flor.loop("step", range(2)):
        big.set(epoch * 2 + step)
    flor.log("tail", [big.n, sum(map(len, big.data[:10]))])
flor.log("suffix", big.n)
