"""Which of three kinds is a point? A small classifier in two files."""

import random

import numpy as np
import torch
from torch import nn

import flor_ray as flor
from net import evaluate, made_up_points, network


class Meter:
    """A running mean."""

    def __init__(self, report):
        self.report = report
        self.values = []
        self.epochs = 0

    def add(self, value):
        self.values.append(value)

    def flush(self):
        self.epochs += 1
        mean = sum(self.values) / len(self.values)
        self.values.clear()
        return mean


def gentle(epoch):
    return 0.05


def rough(epoch):
    return 0.1 / epoch


seed = flor.arg("seed", 7)
lr = flor.arg("lr", 0.02)
epochs = flor.arg("epochs", 3)
hidden = flor.arg("hidden", 8)
random.seed(seed)
np.random.seed(seed)
torch.manual_seed(seed)

points, kinds = made_up_points(48)
loader = torch.utils.data.DataLoader(
    torch.utils.data.TensorDataset(points, kinds),
    batch_size=16,
    shuffle=True,
    generator=torch.Generator().manual_seed(seed),
)
net = network(hidden)
criterion = nn.CrossEntropyLoss()
opt = torch.optim.Adam(net.parameters(), lr=lr)
scheduler = torch.optim.lr_scheduler.ExponentialLR(opt, gamma=0.8)
flor.log("parameters", sum(p.numel() for p in net.parameters()))

meter = Meter(flor.log)
spread = gentle
noise = torch.Generator().manual_seed(seed)
watched = {"layer": net[0], "bias": net[-1].bias, "means": []}
latest = torch.zeros(300)
history = {"losses": [], "best": {"epoch": 0, "accuracy": -1.0}}
with flor.checkpointing(net=net, opt=opt, scheduler=scheduler):
    for epoch in flor.loop("epoch", range(epochs)):
        net.train()
        for batch, labels in flor.loop("step", loader):
            batch = batch + spread(epoch + 1) * torch.randn(batch.shape, generator=noise)
            if random.random() < 0.5:
                batch = batch + float(np.random.normal(0, 0.1))
            opt.zero_grad()
            loss = criterion(net(batch), labels)
            loss.backward()
            opt.step()
            meter.add(flor.log("loss", loss.item()))
            latest[epoch] = loss.item()
        scheduler.step()
        accuracy, confusion = evaluate(net, points, kinds)
        flor.log("accuracy", accuracy)
        flor.log("confusion", confusion)
        watched["means"].append(flor.log("mean", watched["layer"].weight.mean().item() + watched["bias"].mean().item()))
        history["losses"].append(flor.log("mean_loss", meter.flush()))
        if flor.log("improved", accuracy > history["best"]["accuracy"]):
            history["best"] = {"epoch": epoch + 1, "accuracy": accuracy}
        spread = rough if epoch else gentle
        noise = torch.Generator().manual_seed(100 * seed + epoch)
flor.log("best", history["best"])
flor.log("latest", latest[:epochs])
flor.log("weights", net[0].weight)
