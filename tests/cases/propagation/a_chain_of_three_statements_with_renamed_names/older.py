from tools import criterion, loader, net, optimizer

for images, targets in loader:
    outputs = net(images)
    loss = criterion(outputs, targets)
    loss.backward()
    optimizer.step()
