from dataclasses import dataclass, field

import torch
from torch import nn


@dataclass
class TrainConfig:
    lr: float = 0.1
    epochs: int = 3
    sizes: list = field(default_factory=lambda: [4, 8])


cfg = TrainConfig(lr=0.05)
torch.manual_seed(0)
net = nn.Sequential(nn.Linear(cfg.sizes[0], cfg.sizes[1]), nn.Linear(cfg.sizes[1], 1))
optim = torch.optim.RMSprop(net.parameters(), lr=cfg.lr)
data = torch.randn(20, 4)
for epoch in range(cfg.epochs):
    for batch in data.split(5):
        loss = net(batch).pow(2).mean()
        optim.zero_grad()
        loss.backward()
        optim.step()
    # hindsight: flor.log("norm", net[0].weight.norm().item())
