import flor_ray as flor
import torch
from torch import nn
from torch.nn.utils import prune, remove_weight_norm, spectral_norm, weight_norm
X = torch.randn(16, 4); Y = torch.randn(16, 1)
net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 1), nn.LazyBatchNorm1d())
early = nn.Sequential(weight_norm(nn.Linear(4, 2)), spectral_norm(nn.Linear(2, 1)), nn.Linear(1, 1))
prune.l1_unstructured(early[0], "bias", amount=1)
opt = torch.optim.SGD([*net[:5].parameters(), *early.parameters()], lr=.05)
flor.checkpointing(net=net, early=early, opt=opt)
for epoch in flor.loop("epoch", range(7)):
    if epoch == 1:
        weight_norm(net[0])
        spectral_norm(net[2])
        opt = torch.optim.SGD([*net[:5].parameters(), *early.parameters()], lr=.05)
    if epoch == 3:
        remove_weight_norm(net[0])
        opt = torch.optim.SGD([*net[:5].parameters(), *early.parameters()], lr=.05)
    if epoch >= 4:
        prune.l1_unstructured(net[4], "weight", amount=.2)
        opt = torch.optim.SGD([*net[:5].parameters(), *early.parameters()], lr=.05)
    for i in flor.loop("step", range(2)):
        opt.zero_grad()
        loss = ((net(X) + early(X) - Y) ** 2).mean()
        loss.backward()
        opt.step()
        flor.log("inner", loss.item())
    flor.log("tail", [float(m.weight.detach().double().sum()) for m in (net[0], net[2], net[4], early[0], early[1])])
    flor.log("bias", early[0].bias.tolist())
flor.log("suffix", [float(m.weight.detach().double().sum()) for m in (*net[::2], net[5], early[0])])
