from tools import criterion, loader, mixup, net, optimizer

for x, y in loader:
    x, y, share = mixup(x, y)
    loss = criterion(net(x), y)
    loss = loss * share  # carry
    loss.backward()
    optimizer.step()
