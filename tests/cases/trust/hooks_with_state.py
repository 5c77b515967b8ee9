# hooks_with_state
# Expected: objects that were handed to torch change with each step, though nothing in the loop names them.
# Conditions: {"where": ["epoch == 3", null]}
class Stats:
    def __init__(self): self.seen = []
    def __call__(self, *a, **k): self.seen.append(len(self.seen))
    def hook(self, *a, **k): self.seen.append(-len(self.seen))
net = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 1)); opt = torch.optim.SGD(net.parameters(), lr=0.1)
kinds = {k: Stats() for k in ("fwd", "bwd", "tensor", "opt", "glob", "gopt")}
bound = Stats(); losses = []
net[0].register_forward_pre_hook(kinds["fwd"]); net[0].register_full_backward_hook(kinds["bwd"])
net[0].weight.register_hook(kinds["tensor"]); opt.register_step_post_hook(kinds["opt"])
handle = torch.nn.modules.module.register_module_forward_hook(kinds["glob"])
from torch.optim.optimizer import register_optimizer_step_post_hook
handle2 = register_optimizer_step_post_hook(kinds["gopt"])
opt.register_step_pre_hook(bound.hook)
def remember(*a): losses.append(len(losses) * 2)
opt.register_step_pre_hook(remember)
class Counter:
    def __init__(self, f): self.f, self.n = f, 0
    def __call__(self, *a, **k):
        self.n += 1
        return self.f(*a, **k)
counter = Counter(opt.zero_grad); opt.zero_grad = counter
class Tick:
    def __init__(self): self.n = 0
    def note(self, *a): self.n += 1
tick = Tick()
sched = torch.optim.lr_scheduler.LambdaLR(opt, lambda e: (tick.note(), 1.0 / (1 + e))[1])
with flor.checkpointing(net=net, opt=opt):
    for epoch in flor.loop("epoch", range(5)):
        for step in flor.loop("step", range(2)):
            loss = train(net, opt)
        sched.step()
        flor.log("loss", loss)
#H         flor.log("seen", {k: list(s.seen) for k, s in kinds.items()})
#H         flor.log("bound", bound.seen)
#H         flor.log("losses", losses)
#H         flor.log("n", counter.n)
#H         flor.log("tick", tick.n)
