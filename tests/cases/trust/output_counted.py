# output_counted
# Expected: what is printed passes an object that cannot be pickled; a replay goes back to where it exists.
# Conditions: {"where": ["epoch == 3", null]}
class Tee:
    def __init__(self, out): self.out, self.n, self.lines = out, 0, []
    def write(self, text):
        self.n += 1
        self.lines.append(text.strip())
        return self.out.write(text)
    def flush(self): self.out.flush()
tee = Tee(sys.stdout); sys.stdout = tee
flor.checkpointing()
for epoch in flor.loop("epoch", range(5)):
    print("epoch", epoch)
    flor.log("epoch_seen", epoch)
#H     flor.log("n", tee.n)
#H     flor.log("last", tee.lines[-2:])
