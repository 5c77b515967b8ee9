import flor_ray as flor
from train_tools import Net, loader, held_out

def validate(net, batches):
    net.eval()
    losses = []
    for x, y in batches:
        losses.append(net.loss(x, y))
    mean = sum(losses) / len(losses)
    flor.log("val_loss", mean)  # carry
    net.train()
    return mean

class Trainer:
    def __init__(self, net):
        self.net = net

    def fit(self, epochs):
        for epoch in flor.loop("epoch", range(epochs)):
            for batch in flor.loop("step", loader):
                loss = self.net.step(batch)
                flor.log("norm", self.net.norm())  # carry
            validate(self.net, held_out)

Trainer(Net()).fit(3)
