import os

import torch
from torch import nn

CHECKPOINT = "last.pt"
EPOCHS = 4
torch.manual_seed(8)
model = nn.Linear(4, 1)
opt = torch.optim.Adam(model.parameters(), lr=0.01)
sched = torch.optim.lr_scheduler.ExponentialLR(opt, gamma=0.9)
start_epoch = 0
if os.path.exists(CHECKPOINT):
    saved = torch.load(CHECKPOINT)
    model.load_state_dict(saved["model"])
    opt.load_state_dict(saved["opt"])
    start_epoch = saved["epoch"] + 1
data = torch.randn(16, 4)
for epoch in range(start_epoch, EPOCHS):
    for batch in data.split(4):
        opt.zero_grad()
        model(batch).pow(2).mean().backward()
        opt.step()
    sched.step()
    torch.save({"model": model.state_dict(), "opt": opt.state_dict(), "epoch": epoch}, CHECKPOINT)
    # hindsight: flor.log("norm", model.weight.norm().item())
