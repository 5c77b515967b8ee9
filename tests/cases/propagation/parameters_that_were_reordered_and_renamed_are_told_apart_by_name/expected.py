def train_one_epoch(net, optimizer, loader, criterion, dev):
    net.train()
    for images, labels in loader:
        images = images.to(dev)
        labels = labels.to(dev)
        optimizer.zero_grad()
        loss = criterion(net(images), labels)
        loss.backward()
        optimizer.step()
    steps = len(loader)
    return loss.item()
