import flor_ray as flor
from train_tools import Net, SGD, loader, criterion

net = Net()
optimizer = SGD(net.parameters(), lr=0.1)
for epoch in flor.loop("epoch", range(5)):
    for x, y in flor.loop("step", loader):
        optimizer.zero_grad()
        loss = criterion(net(x), y)
        loss.backward()
        flor.log("grad_norm", sum(p.grad.norm() for p in net.parameters()))  # carry
        optimizer.step()
        flor.log("lr", optimizer.param_groups[0]["lr"])  # carry
