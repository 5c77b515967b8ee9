# long_list
# Conditions: {"where": ["epoch == 5", "epoch == 2", "epoch == 3", null]}
table = [0.0] * 200_000
def note(t, e):
    t[50_000 + e] = float(e + 1)
net = nn.Linear(4, 1)
opt = torch.optim.SGD(net.parameters(), lr=0.1)
with flor.checkpointing(net=net, opt=opt):
    for epoch in flor.loop("epoch", range(6)):
        note(table, epoch)
        for step in flor.loop("step", range(3)):
            loss = train(net, opt)
        flor.log("loss", loss)
#H         flor.log("y", sum(table))
#H flor.log("z", sum(table))
