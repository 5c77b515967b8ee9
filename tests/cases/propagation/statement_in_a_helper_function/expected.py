import flor_ray as flor
from train_tools import Net, loader, held_out

def evaluate(network, data):
    network.eval()
    losses = []
    for x, y in data:
        losses.append(network.loss(x, y))
    average = sum(losses) / len(losses)
    flor.log("val_loss", average)
    network.train()
    return average

class Trainer:
    def __init__(self, net):
        self.model = net

    def fit(self, epochs):
        for epoch in flor.loop("epoch", range(epochs)):
            for batch in flor.loop("step", loader):
                loss = self.model.step(batch)
                flor.log("norm", self.model.norm())
            evaluate(self.model, held_out)

Trainer(Net()).fit(3)
