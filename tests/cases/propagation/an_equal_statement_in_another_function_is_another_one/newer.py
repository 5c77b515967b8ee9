def train(net, loader, criterion):
    total = 0.0
    for x, y in loader:
        loss = criterion(net(x), y)
        loss.backward()
        total += loss.item()  # carry
    return total


def validate(net, loader, criterion):
    total = 0.0
    for x, y in loader:
        loss = criterion(net(x), y)
        total += loss.item()
    return total / len(loader)
