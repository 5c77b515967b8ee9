from tools import criterion, loader, net, optimizer

for images, labels in loader:
    optimizer.zero_grad()
    logits = net(images)  # carry
    loss = criterion(logits, labels)
    loss.backward()
    optimizer.step()
    print(loss.item(), (logits.argmax(1) == labels).float().mean())
