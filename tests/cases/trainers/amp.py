# Conditions: {"commands": ["PY train.py eager 1024.0", "PY train.py aot_eager 3e38"]}
# The second scale is too large at first: steps are skipped, and how many is state of the scaler's.
import sys

import torch
from torch.utils.data import DataLoader, TensorDataset

import flor_ray as flor

torch.manual_seed(1)
xs = torch.randn(64, 4)
ys = xs.sum(1, keepdim=True)
layers = torch.nn.Linear(4, 8), torch.nn.BatchNorm1d(8), torch.nn.Dropout(0.1), torch.nn.Linear(8, 1)
net = torch.nn.Sequential(*layers)
model = torch.compile(net, backend=sys.argv[1])
optimizer = torch.optim.SGD(net.parameters(), lr=0.01, momentum=0.9)
loader = DataLoader(TensorDataset(xs, ys), batch_size=8, shuffle=True)
scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.05, total_steps=32)
scaler = torch.amp.GradScaler("cpu", init_scale=float(sys.argv[2]), growth_interval=3)
#H flor.log("before", net[0].weight.norm().item())
flor.checkpointing(net=net, optimizer=optimizer, scheduler=scheduler, scaler=scaler)
for epoch in flor.loop("epoch", range(4)):
    for x, y in flor.loop("step", loader):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss = ((model(x).float() - y) ** 2).mean()
        scaler.scale(loss).backward()
        scaler.unscale_(optimizer)
        norm = torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        scaler.step(optimizer)
        scaler.update()
        scheduler.step()
        optimizer.zero_grad()
#H         flor.log("in_step", [net[3].weight.norm().item(), scaler.get_scale(), scheduler.get_last_lr()[0], norm.item()])
    flor.log("loss", loss.item())
#H     flor.log("at_end", [net[3].weight.norm().item(), scaler.get_scale(), scheduler.get_last_lr()[0], x.sum().item()])
#H flor.log("after", net[0].weight.norm().item())
