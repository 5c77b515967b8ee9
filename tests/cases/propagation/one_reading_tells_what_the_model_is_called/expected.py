from torch.nn.utils import clip_grad_norm_

from tools import build, config, criterion, loader, optimizer_for

model = build(config)
optimizer = optimizer_for(config)
for x, y in loader:
    optimizer.zero_grad()
    loss = criterion(model(x), y)
    loss.backward()
    clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
