# Conditions: {"commands": ["PY train.py 1 no", "PY train.py 3 bf16 1"]}
# The second version draws its batches from a sampler that has a seed of its own and an epoch.
import sys

import torch
from accelerate import Accelerator
from accelerate.utils import DataLoaderConfiguration
from torch.utils.data import DataLoader, TensorDataset

import flor_ray as flor

torch.manual_seed(1)
xs = torch.randn(64, 4)
ys = xs.sum(1, keepdim=True)
accelerator = Accelerator(
    cpu=True, gradient_accumulation_steps=int(sys.argv[1]), mixed_precision=sys.argv[2],
    dataloader_config=DataLoaderConfiguration(use_seedable_sampler=len(sys.argv) > 3),
)
net = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Dropout(0.1), torch.nn.Linear(8, 1))
optimizer = torch.optim.AdamW(net.parameters(), lr=0.01)
loader = DataLoader(TensorDataset(xs, ys), batch_size=8, shuffle=True)
scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 5, 0.9)
net, optimizer, loader, scheduler = accelerator.prepare(net, optimizer, loader, scheduler)
rounds = 0
#H flor.log("before", net[0].weight.norm().item())
flor.checkpointing(net=net, optimizer=optimizer, scheduler=scheduler)
for epoch in flor.loop("epoch", range(4)):
    for x, y in flor.loop("step", loader):
        with accelerator.accumulate(net):
            loss = ((net(x) - y) ** 2).mean()
            accelerator.backward(loss)
            if accelerator.sync_gradients:
                accelerator.clip_grad_norm_(net.parameters(), 1.0)
            optimizer.step()
            scheduler.step()
            optimizer.zero_grad()
        rounds += 1
#H         flor.log("in_step", [net[2].weight.norm().item() + rounds, scheduler.get_last_lr()[0], x.sum().item(), accelerator.step])
    flor.log("loss", loss.item())
#H     flor.log("at_end", [net[2].weight.norm().item() + rounds, scheduler.get_last_lr()[0], loader.iteration, x.sum().item()])
#H flor.log("after", net[0].weight.norm().item())
