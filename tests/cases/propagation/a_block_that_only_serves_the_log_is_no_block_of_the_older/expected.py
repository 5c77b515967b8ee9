import torch
import flor_ray as flor
from lab import confused, histogram, loader, held_out, model, norm, optimizer

for epoch in flor.loop("epoch", range(5)):
    for x, y in flor.loop("step", loader):
        optimizer.zero_grad()
        model(x, y).backward()
        optimizer.step()
    model.eval()
    guessed = []
    with torch.no_grad():
        for x, y in held_out:
            guessed.append(model(x).argmax(1) == y)
    model.train()
    right = torch.cat(guessed).float().mean().item()
    flor.log("right", right)
    with torch.no_grad():
        states = model.states(held_out[0])
        last = states[-1]
    flor.log("histogram", histogram(last))
