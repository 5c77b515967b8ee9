import flor_ray as flor
import torch
from torch import nn
X = torch.randn(16, 4); Y = torch.randn(16, 1)
class Leaky(nn.ReLU):
    def forward(self, x):
        return nn.functional.leaky_relu(x, 0.3)
def twice(module, given, out):
    return out * 2
def squash(x):
    return torch.tanh(x)
def run(m):
    return float(m(X).detach().double().sum())
net = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 1))
old = torch.optim.SGD(net[4].parameters(), lr=.01)
opt = torch.optim.SGD(net.parameters(), lr=.1)
head = net[4]
handle = net[0].register_forward_hook(twice)
flor.checkpointing(net=net, opt=opt)
for epoch in flor.loop("epoch", range(8)):
    if epoch == 1:
        net[1] = nn.GELU()
    if epoch == 2:
        head = nn.Linear(4, 1)
        net[4] = head
        opt = torch.optim.Adam([{"params": net[:4].parameters()}, {"params": head.parameters(), "lr": .3}], lr=.01)
    if epoch == 3:
        handle.remove()
    if epoch == 4:
        net[3].__class__ = Leaky
        handle = net[2].register_forward_hook(twice)
    if epoch == 5:
        net[1].forward = squash
        net[2].weight = net[0].weight
    if epoch == 6:
        del net[3]
        handle.remove()
    flor.log("head", [run(net), run(lambda x: head(x)), len(opt.state)])
    for i in flor.loop("step", range(2)):
        opt.zero_grad()
        loss = ((net(X) - Y) ** 2).mean()
        loss.backward()
        opt.step()
        flor.log("inner", loss.item())
    flor.log("tail", [run(net), old.param_groups[0]["params"][0].sum().item(), len(list(net.parameters()))])
flor.log("suffix", run(net))
