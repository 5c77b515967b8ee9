from tools import criterion, loader, mixup, net, optimizer

for x, y in loader:
    share = mixup(x, y)  # carry
    loss = criterion(net(x), y)
    loss = loss * share  # carry
    loss.backward()
    optimizer.step()
