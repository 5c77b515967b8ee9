import torch
import flor_ray as flor
from lab import loader, held_out, build, optimizer
from engine import evaluate, train_one_epoch

classes = ["a", "b"]
model = build(len(classes))
for epoch in flor.loop("epoch", range(5)):
    train_one_epoch(model, loader)
    sure = evaluate(model, held_out, classes)
    mean = sum(sure) / len(sure)
    flor.log("mean", mean)
    flor.log("sure", {kind: each for kind, each in zip(classes, sure)})  # carry
