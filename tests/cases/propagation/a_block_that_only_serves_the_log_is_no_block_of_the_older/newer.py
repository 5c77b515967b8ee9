import torch
import flor_ray as flor
from lab import confused, histogram, loader, held_out, model, norm, optimizer


@torch.no_grad()
def evaluate(model, batches):
    model.eval()
    guessed = [model(x).argmax(1) == y for x, y in batches]
    model.train()
    return torch.cat(guessed).float().mean().item()


for epoch in flor.loop("epoch", range(5)):
    for x, y in flor.loop("step", loader):
        optimizer.zero_grad()
        model(x, y).backward()
        optimizer.step()
    right = evaluate(model, held_out)
    flor.log("right", right)
    with torch.no_grad():
        states = model.states(held_out[0])
        last = states[-1]
    flor.log("histogram", histogram(last))  # carry
