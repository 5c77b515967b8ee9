class Trainer:
    def __init__(self, net, optimizer, loader):
        self.net = net
        self.optimizer = optimizer
        self.loader = loader

    def train_epoch(self):
        for batch in self.loader:
            loss = self.net(batch)
            self.optimizer.zero_grad()
            loss.backward()
            norm = self.net.clip(1.0)  # carry
            self.optimizer.step()
        return norm
