from tools import criterion, loader, net, optimizer

for epoch in range(10):
    running = 0.0  # carry
    for images, labels in loader:
        optimizer.zero_grad()
        loss = criterion(net(images), labels)
        loss.backward()
        optimizer.step()
        running += loss.item()
    print(epoch, running / len(loader))
