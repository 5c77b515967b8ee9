# parametrized_late
# torch makes classes for parametrized layers that cannot be pickled: then replay begins where there were none yet.
# Conditions: {"where": ["epoch == 5", "epoch == 2", null]}
net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 1))
opt = torch.optim.SGD(net.parameters(), lr=0.1)
with flor.checkpointing(net=net, opt=opt):
    for epoch in flor.loop("epoch", range(5)):
        if epoch == 3:
            nn.utils.parametrizations.weight_norm(net[0])
            nn.utils.parametrizations.spectral_norm(net[2])
            opt = torch.optim.SGD(net.parameters(), lr=0.1)
            net[0].parametrizations.weight.original0.register_hook(lambda gradient: gradient / 2)
        for step in flor.loop("step", range(3)):
            loss = train(net, opt)
        flor.log("loss", loss)
#H         flor.log("y", total(net))
#H flor.log("z", total(net))
