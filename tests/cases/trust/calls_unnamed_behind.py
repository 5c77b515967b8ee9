# What only hindsight lines make in steps and in epochs is read behind them, where no checkpoint has it.
# Conditions: {"names": ["norm", "last"], "where": ["epoch == 2", null]}
net = nn.Linear(4, 1)
opt = torch.optim.SGD(net.parameters(), lr=0.05)
flor.checkpointing(net=net, opt=opt)
for epoch in flor.loop("epoch", range(3)):
    for step in flor.loop("step", range(2)):
        loss = net(torch.randn(8, 4)).pow(2).mean()
        opt.zero_grad()
        loss.backward()
#R         norm = torch.nn.utils.clip_grad_norm_(net.parameters(), 0.1)
        torch.nn.utils.clip_grad_norm_(net.parameters(), 0.1)
        opt.step()
    flor.log("loss", loss.item())
#H     flor.log("norm", norm.item())
flor.log("left", 3)
#H flor.log("last", norm.item() * 2)
