from tools import criterion, loader, net, optimizer

for images, labels in loader:
    outputs = net(images)
    guess = outputs.argmax(1)
    loss = criterion(outputs, labels)
    loss.backward()
    print((guess == labels).float().mean())
