import flor_ray as flor


class Trainer:
    def __init__(self, net, ema):
        self.net = net
        self.ema = ema

    def step(self, x):
        loss = self.net(x)
        flor.log("decay", self.ema.decay)  # carry
        return loss
