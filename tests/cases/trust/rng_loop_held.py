epochs = flor.loop("epoch", range(3))
noise = torch.randn(5)
#H flor.log("noise", noise.sum().item())
net = torch.nn.Linear(4, 1)
for epoch in epochs:
    loss = net(torch.randn(3, 4)).sum() + noise.sum()
#H     flor.log("nl", loss.item() * 2)
    flor.log("loss", loss.item())
