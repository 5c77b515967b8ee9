# best_file_alone
# Expected: as best_file, where an epoch in the middle is asked for first and alone.
# Conditions: {"files": {".gitignore": "best.pt\n"}, "where": ["epoch == 5"]}
net = nn.Linear(4, 1)
opt = torch.optim.SGD(net.parameters(), lr=0.05)
with flor.checkpointing(net=net, opt=opt):
    for epoch in flor.loop("epoch", range(6)):
        if epoch in (1, 4):
            net.load_state_dict(torch.load("best.pt"))
        for step in flor.loop("step", range(3)):
            loss = train(net, opt)
        torch.save(net.state_dict(), "best.pt") if epoch in (0, 2, 5) else None
        flor.log("loss", loss)
#H         flor.log("y", total(net))
