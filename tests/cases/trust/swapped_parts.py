# swapped_parts
# A model whose parts are others from an epoch on, with the same names and shapes: no state_dict tells.
# Conditions: {"where": ["epoch == 6", "epoch == 3", null]}
def twice(module, given, out):
    return out * 2
net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 1))
opt = torch.optim.SGD(net.parameters(), lr=0.1)
frozen = torch.optim.SGD(net[2].parameters(), lr=0.01)
head = net[2]
handle = net[0].register_forward_hook(twice)
with flor.checkpointing(net=net, opt=opt):
    for epoch in flor.loop("epoch", range(7)):
        if epoch == 2:
            net[1] = nn.GELU()
            head = nn.Linear(8, 1)
            net[2] = head
            opt = torch.optim.Adam([{"params": net[0].parameters()}, {"params": head.parameters(), "lr": 0.3}], lr=0.01)
        if epoch == 4:
            handle.remove()
        for step in flor.loop("step", range(3)):
            loss = train(net, opt)
        flor.log("loss", loss)
#H         flor.log("y", float(net(X).double().sum()) + total(head))
#H         flor.log("first", float(frozen.param_groups[0]["params"][0].sum()))
#H flor.log("z", float(head(net[1](net[0](X))).sum()))
