# grown_network
# Blocks are appended while it trains, with a group of the optimizer each; an average is begun late, the scheduler replaced.
# Conditions: {"where": ["epoch == 6", "epoch == 3", null]}
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.blocks = nn.ModuleList([nn.Linear(4, 4)])
        self.out = nn.LazyLinear(1)
    def forward(self, x):
        for block in self.blocks:
            x = block(x).relu()
        return self.out(x)
net, ema = Net(), None
opt = torch.optim.Adam(net.parameters(), lr=0.01)
sched = torch.optim.lr_scheduler.StepLR(opt, 1, 0.9)
with flor.checkpointing(net=net, opt=opt):
    for epoch in flor.loop("epoch", range(7)):
        if epoch in (2, 4):
            net.blocks.append(nn.Linear(4, 4))
            opt.add_param_group({"params": net.blocks[-1].parameters(), "lr": 0.02})
            sched = torch.optim.lr_scheduler.ExponentialLR(opt, 0.8)
        for step in flor.loop("step", range(3)):
            loss = train(net, opt)
        if epoch >= 4:
            ema = ema or copy.deepcopy(net)
            for old, new in zip(ema.parameters(), net.parameters()):
                old.data.mul_(0.9).add_(new.data, alpha=0.1)
        sched.step()
        flor.log("loss", loss)
#H         flor.log("y", total(net) + (0 if ema is None else total(ema)))
#H         flor.log("lr", sched.get_last_lr())
#H flor.log("z", total(ema) + len(net.blocks))
