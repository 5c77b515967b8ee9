import flor_ray as flor
from train_tools import Net, SGD, loader, criterion

model = Net()
opt = SGD(model.parameters(), lr=0.1)
for epoch in flor.loop("epoch", range(5)):
    for x, y in flor.loop("step", loader):
        opt.zero_grad()
        loss = criterion(model(x), y)
        loss.backward()
        opt.step()
