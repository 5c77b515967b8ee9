import flor_ray as flor
from train_tools import net, scaler, loader, criterion, optimizer

for epoch in flor.loop("epoch", range(5)):
    for x, y in flor.loop("step", loader):
        loss = criterion(net(x), y)
        scaled = scaler.scale(loss)
        scaled.backward()
        flor.log("scaled", scaled.item())  # carry
        optimizer.step()
