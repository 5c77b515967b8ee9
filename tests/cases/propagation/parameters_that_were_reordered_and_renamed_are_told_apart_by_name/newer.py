def train_one_epoch(net, data_loader, optimizer, criterion, device, scaler=None):
    net.train()
    for images, labels in data_loader:
        images = images.to(device)
        labels = labels.to(device)  # carry
        optimizer.zero_grad()
        loss = criterion(net(images), labels)
        loss.backward()
        optimizer.step()
    steps = len(data_loader)  # carry
    return loss.item()
