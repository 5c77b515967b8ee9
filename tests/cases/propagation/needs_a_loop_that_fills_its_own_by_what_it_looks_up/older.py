import torch
import flor_ray as flor
from lab import confused, histogram, loader, held_out, model, norm, optimizer

for epoch in flor.loop("epoch", range(5)):
    for x, y in flor.loop("step", loader):
        model(x, y).backward()
        optimizer.step()
    flor.log("right", confused(model))
