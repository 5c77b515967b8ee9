# reparametrised
# What a layer's forward makes of its parameters is an attribute, and differs from what the loop's entry had.
# Conditions: {"where": ["epoch == 5", "epoch == 3", null]}
from torch.nn.utils import prune
early = nn.Sequential(nn.utils.weight_norm(nn.Linear(4, 2)), nn.utils.spectral_norm(nn.Linear(2, 1)))
net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 1))
opt = torch.optim.SGD([*net.parameters(), *early.parameters()], lr=0.05)
with flor.checkpointing(net=net, early=early, opt=opt):
    for epoch in flor.loop("epoch", range(6)):
        if epoch in (1, 3):
            (nn.utils.weight_norm if epoch == 1 else nn.utils.remove_weight_norm)(net[0])
            opt = torch.optim.SGD([*net.parameters(), *early.parameters()], lr=0.05)
        if epoch == 4:
            prune.l1_unstructured(net[2], "weight", amount=0.5)
        for step in flor.loop("step", range(3)):
            loss = train(lambda x: net(x) + early(x), opt)
        flor.log("loss", loss)
#H         flor.log("y", [float(m.weight.sum()) for m in (net[0], net[2], early[0], early[1])])
#H flor.log("z", [float(m.weight.sum()) for m in (net[0], net[2], early[0], early[1])])
