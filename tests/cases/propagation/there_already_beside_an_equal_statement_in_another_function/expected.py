def train(net, loader):
    net.train()
    correct = 0
    for x, y in loader:
        correct += net.step(x, y)
    return correct


def validate(net, loader):
    net.eval()
    correct = 0
    for x, y in loader:
        correct += net.check(x, y)
    return correct
