"""Parts of one tensor: the small one is kept in checkpoints, the large one is too large and never changes."""

import torch
from torch import nn

import flor_ray as flor

data = torch.randn(20_000)
train_data, val_data = data[:18_000], data[18_000:]
net = nn.Linear(8, 1)
optimizer = torch.optim.SGD(net.parameters(), lr=0.01)


def batch(part):
    starts = torch.randint(len(part) - 8, (4,))
    return torch.stack([part[start : start + 8] for start in starts])


flor.checkpointing(net=net, optimizer=optimizer)
for epoch in flor.loop("epoch", range(4)):
    for step in flor.loop("step", range(3)):
        loss = net(batch(train_data)).pow(2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        flor.log("loss", loss.item())
    with torch.no_grad():
        checked = net(batch(val_data)).mean().item()
    flor.log("checked", checked)
