from tools import criterion, loader, mixup, net, optimizer

for x, y in loader:
    share = mixup(x, y)
    loss = criterion(net(x), y)
    loss = loss * share
    loss.backward()
    optimizer.step()
