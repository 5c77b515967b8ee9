import torch
import flor_ray as flor
from lab import loader, held_out, build, optimizer


def train_one_epoch(model, batches):
    model.train()
    for x, y in flor.loop("step", batches):
        optimizer.zero_grad()
        model(x, y).backward()
        optimizer.step()


@torch.no_grad()
def evaluate(model, batches, classes):
    model.eval()
    return [model(x).argmax(1) == y for x, y in batches]


classes = ["a", "b"]
model = build(len(classes))
for epoch in flor.loop("epoch", range(5)):
    train_one_epoch(model, loader)
    sure = evaluate(model, held_out, classes)
    mean = sum(sure) / len(sure)
    flor.log("mean", mean)
