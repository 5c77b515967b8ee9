import flor_ray as flor
from train_tools import net, optimizer, loader, criterion, epochs

for epoch in flor.loop("epoch", range(1, epochs + 1)):
    for i, (x, y) in enumerate(flor.loop("step", loader)):
        loss = criterion(net(x), y)
        loss.backward()
        flor.log("loss", loss.item())  # carry
        optimizer.step()
