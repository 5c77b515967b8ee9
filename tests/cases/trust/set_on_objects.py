# set_on_objects
# Expected: attributes that the script has set on objects of libraries are state.
# Conditions: {"where": ["epoch == 3", null]}
net = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 1)); opt = torch.optim.SGD(net.parameters(), lr=0.1)

opt.history = []
net.extra = {"seen": 0}
sched = torch.optim.lr_scheduler.StepLR(opt, 2); sched.mine = [0]
X.meta = []
loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(X, Y), batch_size=32); loader.passes = 0
with flor.checkpointing(net=net, opt=opt):
    for epoch in flor.loop("epoch", range(5)):
        for x, y in flor.loop("step", loader):
            loss = train(net, opt, x, y)
            opt.history.append(loss); net.extra["seen"] += 1; sched.mine[0] += 1; X.meta.append(epoch)
        loader.passes += 1
        sched.step()
        flor.log("loss", loss)
#H         flor.log("h", opt.history)
#H         flor.log("e", net.extra["seen"])
#H         flor.log("s", sched.mine[0])
#H         flor.log("m", len(X.meta))
#H         flor.log("p", loader.passes)
