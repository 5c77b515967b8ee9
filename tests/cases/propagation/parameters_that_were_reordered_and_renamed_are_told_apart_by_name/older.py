def train_one_epoch(net, optimizer, loader, criterion, dev):
    net.train()
    for images, labels in loader:
        images = images.to(dev)
        optimizer.zero_grad()
        loss = criterion(net(images), labels)
        loss.backward()
        optimizer.step()
    return loss.item()
