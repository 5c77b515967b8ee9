# handed_over_large
# Expected: so are large objects that nothing in the loop names, once they have changed.
# Conditions: {"where": ["epoch == 3", null]}
net = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 1)); opt = torch.optim.SGD(net.parameters(), lr=0.1)

class Stats:
    def __init__(self):
        self.data = torch.randn(200, 200); self.n = 0
    def __call__(self, m, i, o): self.n += 1; self.data[0, self.n % 200] += 1
stats = Stats(); net[0].register_forward_hook(stats)
class Other:
    def __init__(self): self.big = list(range(40000)); self.n = 0
    def note(self, *a): self.n += 1
other = Other()
opt.register_step_post_hook(other.note)
class Wrapped:
    def __init__(self, f): self.f, self.n, self.big = f, 0, list(range(40000))
    def __call__(self, *a, **k):
        self.n += 1
        return self.f(*a, **k)
wrapped = Wrapped(opt.zero_grad); opt.zero_grad = wrapped
with flor.checkpointing(net=net, opt=opt):
    for epoch in flor.loop("epoch", range(5)):
        for step in flor.loop("step", range(2)):
            loss = train(net, opt)
        flor.log("loss", loss)
#H         flor.log("n", stats.n)
#H         flor.log("d", float(stats.data[0].sum()))
#H         flor.log("o", other.n)
#H         flor.log("w", wrapped.n)
