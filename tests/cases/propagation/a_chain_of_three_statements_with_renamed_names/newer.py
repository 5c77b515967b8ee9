from tools import criterion, loader, net, optimizer

for images, labels in loader:
    logits = net(images)
    loss = criterion(logits, labels)
    predicted = logits.argmax(1)  # carry
    hits = (predicted == labels).sum()  # carry
    print(hits.item() / len(labels))  # carry
    loss.backward()
    optimizer.step()
