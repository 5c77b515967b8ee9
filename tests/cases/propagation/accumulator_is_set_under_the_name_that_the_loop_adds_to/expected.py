from tools import criterion, loader, net, optimizer

for epoch in range(10):
    total_loss = 0.0
    for images, labels in loader:
        optimizer.zero_grad()
        loss = criterion(net(images), labels)
        loss.backward()
        optimizer.step()
        total_loss += loss.item()
    print(epoch, total_loss / len(loader))
