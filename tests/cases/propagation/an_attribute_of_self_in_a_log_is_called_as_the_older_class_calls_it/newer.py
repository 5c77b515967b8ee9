import flor_ray as flor


class Trainer:
    def __init__(self, net, optimizer, loader):
        self.net = net
        self.optimizer = optimizer
        self.loader = loader

    def train_epoch(self):
        for batch in flor.loop("step", self.loader):
            loss = self.net(batch)
            self.optimizer.zero_grad()
            loss.backward()
            flor.log("norm", self.net.norm())  # carry
            self.optimizer.step()
