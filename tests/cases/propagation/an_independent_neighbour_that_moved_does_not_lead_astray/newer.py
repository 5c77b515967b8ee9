from torch.nn.utils import clip_grad_norm_

from tools import criterion, loader, net, optimizer

seen = 0
for x, y in loader:
    optimizer.zero_grad()
    loss = criterion(net(x), y)
    loss.backward()
    seen += len(x)
    clip_grad_norm_(net.parameters(), 1.0)  # carry
    optimizer.step()
    print(loss.item())
