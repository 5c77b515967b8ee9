import torch

import flor_ray as flor



torch.manual_seed(3407)
x = torch.randn(32, 4)
#H flor.log("rows", len(x))
net = torch.nn.Linear(4, 1)
order = torch.randperm(32)
#H flor.log("w0", net.weight.norm().item())
#H flor.log("first", order[0].item())
opt = torch.optim.SGD(net.parameters(), lr=0.1)
flor.checkpointing(net=net, opt=opt)
for epoch in flor.loop("epoch", range(3)):
    for i in flor.loop("step", range(4)):
        loss = (net(x[order[8 * i : 8 * i + 8]]) - 1).pow(2).mean()
        opt.zero_grad()
        loss.backward()
        opt.step()
    flor.log("loss", loss.item())
