from tools import args, criterion, loader, net, optimizer

for step, (x, y) in enumerate(loader):
    loss = criterion(net(x), y)
    loss.backward()
    optimizer.step()
