import flor_ray as flor
import copy
import torch
from torch import nn
X = torch.randn(16, 4); Y = torch.randn(16, 1)
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.blocks = nn.ModuleList([nn.Linear(4, 4)])
        self.out = nn.Linear(4, 1)
        self.register_buffer("mean", None)
    def forward(self, x):
        if self.mean is None:
            self.mean = x.mean(0)
        for block in self.blocks:
            x = block(x - self.mean).relu()
        return self.out(x) * getattr(self, "scale", 1.0)
    def grow(self):
        self.blocks.append(nn.Linear(4, 4))
        return self.blocks[-1]
class Trainer:
    def __init__(self):
        self.net, self.ema = Net(), None
        self.opt = torch.optim.Adam(self.net.parameters(), lr=.01)
        self.sched = torch.optim.lr_scheduler.StepLR(self.opt, 1, .9)
    def begin(self, epoch):
        if epoch in (1, 4):
            block = self.net.grow()
            self.opt.add_param_group({"params": block.parameters(), "lr": .02})
            self.sched = torch.optim.lr_scheduler.ExponentialLR(self.opt, .8)
        if epoch == 2:
            self.ema = copy.deepcopy(self.net)
        if epoch == 3:
            self.net.register_buffer("scale", torch.tensor(.5), persistent=False)
            self.net.out.weight.data = self.net.out.weight.data[:, :4] * 2
        if epoch == 5:
            self.opt.param_groups[0]["params"] = list(self.net.out.parameters())
    def step(self):
        self.opt.zero_grad()
        loss = ((self.net(X) - Y) ** 2).mean()
        loss.backward()
        self.opt.step()
        if self.ema is not None and len(self.ema.blocks) == len(self.net.blocks):
            for a, b in zip(self.ema.parameters(), self.net.parameters()):
                a.data.mul_(.9).add_(b.data, alpha=.1)
        return loss.item()
    def shown(self):
        nets = [self.net] + [self.ema] * (self.ema is not None)
        return [[float(p.detach().double().sum()) for p in n.state_dict().values()] for n in nets]
trainer = Trainer()
flor.checkpointing(net=trainer.net)
for epoch in flor.loop("epoch", range(7)):
    trainer.begin(epoch)
    flor.log("head", trainer.shown())
    for i in flor.loop("step", range(2)):
        loss = trainer.step()
        flor.log("inner", loss)
    trainer.sched.step()
    flor.log("tail", [trainer.shown(), trainer.sched.get_last_lr(), len(trainer.opt.state)])
flor.log("suffix", trainer.shown())
