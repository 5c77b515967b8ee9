from tools import criterion, loader, net, optimizer

for images, targets in loader:
    outputs = net(images)
    loss = criterion(outputs, targets)
    predicted = outputs.argmax(1)
    hits = (predicted == targets).sum()
    print(hits.item() / len(targets))
    loss.backward()
    optimizer.step()
