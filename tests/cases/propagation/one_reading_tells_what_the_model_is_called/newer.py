from torch.nn.utils import clip_grad_norm_

from tools import Net, build, config, criterion, loader, optimizer_for

net = Net(config.width, config.depth)
optimizer = optimizer_for(config)
for x, y in loader:
    optimizer.zero_grad()
    loss = criterion(net(x), y)
    loss.backward()
    clip_grad_norm_(net.parameters(), 1.0)  # carry
    optimizer.step()
