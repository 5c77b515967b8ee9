class Trainer:
    def __init__(self, net, loader):
        self.net = net
        self.loader = loader

    def validate(self):
        self.net.eval()  # carry
        correct = 0
        for x, y in self.loader:
            correct += (self.net(x).argmax(1) == y).sum().item()
        return correct / len(self.loader)
