from tools import criterion, loader, net, optimizer

for images, labels in loader:
    optimizer.zero_grad()
    loss = criterion(outputs, labels)
    loss.backward()
    optimizer.step()
    print(loss.item(), (outputs.argmax(1) == labels).float().mean())
