import torch
import flor_ray as flor
from lab import confused, histogram, loader, held_out, model, norm, optimizer
counts = [0, 0]
seen = {}
for x, y in held_out:
    counts[y["kind"]] += 1
    seen[y["name"].lower()] = len(x)
    counts[y.index[0]], counts[-1] = 1, 2
flor.log("kinds", [counts, seen])

for epoch in flor.loop("epoch", range(5)):
    for x, y in flor.loop("step", loader):
        model(x, y).backward()
        optimizer.step()
    flor.log("right", confused(model))
