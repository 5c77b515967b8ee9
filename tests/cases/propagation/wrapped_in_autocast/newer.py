import torch
import flor_ray as flor
from train_tools import net, loader, criterion, optimizer

for epoch in flor.loop("epoch", range(5)):
    for x, y in flor.loop("step", loader):
        with torch.autocast("cuda"):
            out = net(x)
            loss = criterion(out, y)
            flor.log("loss", loss.item())  # carry
        loss.backward()
        optimizer.step()
