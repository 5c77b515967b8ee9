"""Regression with all that goes around a loop: a schedule, early stopping, gradient clipping, the best state so far."""

import copy

import numpy as np
import torch
from sklearn.datasets import load_diabetes
from torch import nn

import flor_ray as flor

max_epochs = flor.arg("epochs", 30)
patience = flor.arg("patience", 3)
batch_size = flor.arg("batch_size", 32)
lr = flor.arg("lr", 0.03)
warmup_steps = flor.arg("warmup", 20)
max_norm = 1.0

data = load_diabetes()
inputs = torch.tensor(data.data, dtype=torch.float32) * 20
targets = torch.tensor((data.target - data.target.mean()) / data.target.std(), dtype=torch.float32)
order = torch.randperm(len(inputs))
train_idx, val_idx = order[:340], order[340:]

model = nn.Sequential(nn.Linear(10, 64), nn.GELU(), nn.Dropout(0.1), nn.Linear(64, 64), nn.GELU(), nn.Linear(64, 1))
optimizer = torch.optim.SGD(model.parameters(), lr=lr, momentum=0.9)
warmup = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: min(1.0, (step + 1) / warmup_steps))
plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.5, patience=1)

global_step = 0
best_loss, best_epoch, best_state = float("inf"), -1, None
bad_epochs = 0

flor.checkpointing(model=model, optimizer=optimizer)
for epoch in flor.loop("epoch", range(max_epochs)):
    model.train()
    shuffled = train_idx[torch.randperm(len(train_idx))]
    for batch_idx in flor.loop("step", shuffled.split(batch_size)):
        optimizer.zero_grad()
        output = model(inputs[batch_idx]).squeeze(1)
        loss = nn.functional.huber_loss(output, targets[batch_idx])
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), max_norm)
        optimizer.step()
        if global_step < warmup_steps:
            warmup.step()
        global_step += 1
        flor.log("loss", loss.item())

    model.eval()
    with torch.no_grad():
        val_loss = nn.functional.mse_loss(model(inputs[val_idx]).squeeze(1), targets[val_idx]).item()
    plateau.step(val_loss)
    flor.log("val_loss", val_loss)
    flor.log("lr_now", optimizer.param_groups[0]["lr"])
    if val_loss < best_loss:
        best_loss, best_epoch = val_loss, epoch
        best_state = copy.deepcopy(model.state_dict())
        bad_epochs = 0
    else:
        bad_epochs += 1
    if bad_epochs >= patience:
        print(f"no progress since epoch {best_epoch}: stopped after {global_step} steps")
        break

model.load_state_dict(best_state)
with torch.no_grad():
    predictions = model(inputs[val_idx]).squeeze(1)
correlation = np.corrcoef(predictions.numpy(), targets[val_idx].numpy())[0, 1]
flor.log("correlation", float(correlation))
