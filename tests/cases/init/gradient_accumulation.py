import torch
from torch import nn
from torch.optim.lr_scheduler import CosineAnnealingWarmRestarts

accumulation_steps = 2
torch.manual_seed(4)
model = nn.Linear(4, 1)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
scheduler = CosineAnnealingWarmRestarts(optimizer, T_0=2)
data = torch.randn(32, 4)
iters = 4
for epoch in range(4):
    optimizer.zero_grad()
    for i, batch in enumerate(data.split(8)):
        loss = model(batch).pow(2).mean() / accumulation_steps
        loss.backward()
        if (i + 1) % accumulation_steps == 0:
            optimizer.step()
            optimizer.zero_grad()
        scheduler.step(epoch + i / iters)
    # hindsight: flor.log("norm", model.weight.norm().item())
