from tools import criterion, loader, net, optimizer

for x, y in loader:
    optimizer.zero_grad(); loss = criterion(net(x), y)
    loss.backward()
    optimizer.step(); print(loss.item())
