import os

import torch

import flor_ray as flor

torch.manual_seed(0)
net = torch.nn.Linear(4, 1)
start = 0
if os.path.exists("last.pt"):
    saved = torch.load("last.pt")
    net.load_state_dict(saved["net"])
    start = saved["epoch"] + 1
#H flor.log("start", start)
#H flor.log("w0", net.weight.norm().item())
opt = torch.optim.SGD(net.parameters(), lr=0.05)
flor.checkpointing(net=net, opt=opt)
for epoch in flor.loop("epoch", range(start, flor.arg("epochs", 3))):
    loss = net(torch.randn(8, 4)).pow(2).mean()
    opt.zero_grad()
    loss.backward()
    opt.step()
    flor.log("loss", loss.item())
#H     flor.log("wn", net.weight.norm().item())
    torch.save({"net": net.state_dict(), "epoch": epoch}, "last.pt")
