# Hindsight statements under other names for us, whose features are named by constants.
# Conditions: {"names": ["gn", "gn/mean", "later", "total", "spread"], "where": ["epoch == 2", null]}
from flor_ray import log as L

NAME = "gn"


#H import functools


class Names:
    LATER = "later"


#H spread = functools.partial(flor.log, "spread")
net = nn.Linear(4, 1)
opt = torch.optim.SGD(net.parameters(), lr=0.05)
flor.checkpointing(net=net, opt=opt)


def run():
#H     record = flor.log
    for epoch in flor.loop("epoch", range(3)):
        for step in flor.loop("step", range(2)):
            loss = net(torch.randn(8, 4)).pow(2).mean()
            opt.zero_grad()
            loss.backward()
#H             flor.log(NAME, net.weight.grad.norm().item())
#H             L(f"{NAME}/mean", net.weight.grad.mean().item())
            opt.step()
#H             spread(net.weight.std().item())
        flor.log("loss", loss.item())
#H         flor.log(Names.LATER, net.weight.sum().item())
#H         record("total", total(net))


run()
