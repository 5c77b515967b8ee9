# resume_ckpt
# Expected: z is 0 for the first run and 3 for the second, or a warning that ckpt.pt is not what the run read; y comes for all epochs. Today 6 and 6, unverified, no cause.
# Conditions: {"files": {".gitignore": "ckpt.pt\n"}, "commands": ["PY train.py", "PY train.py --kwargs epochs=6"], "names": ["y", "z"], "where": [null]}
epochs = flor.arg("epochs", 3)
net = nn.Linear(4, 1)
opt = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
start = 0
if os.path.exists("ckpt.pt"):
    c = torch.load("ckpt.pt")
    net.load_state_dict(c["net"])
    opt.load_state_dict(c["opt"])
    start = c["epoch"] + 1
with flor.checkpointing(net=net, opt=opt):
    for epoch in flor.loop("epoch", range(start, epochs)):
        for step in flor.loop("step", range(3)):
            loss = train(net, opt)
        flor.log("real", epoch)
#H         flor.log("y", total(net))
        torch.save({"net": net.state_dict(), "opt": opt.state_dict(), "epoch": epoch}, "ckpt.pt")
#H flor.log("z", start)
