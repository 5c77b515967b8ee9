import flor_ray as flor


class Trainer:
    def __init__(self, net, log):
        self.net = net
        self.log = log

    def step(self, x):
        loss = self.net(x)
        return loss
