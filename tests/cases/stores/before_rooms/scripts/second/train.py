"""Which of three kinds is a point? A small classifier, with normalisation."""

import random

import torch
from torch import nn

import flor_ray as flor


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


seed = flor.arg("seed", 7)
lr = flor.arg("lr", 0.01)
epochs = flor.arg("epochs", 3)
hidden = flor.arg("hidden", 5)
random.seed(seed)
torch.manual_seed(seed)

centres = torch.tensor([[1.0, 0.0, 0.5, 0.0], [0.0, 1.0, 0.0, -0.5], [-1.0, 0.5, 0.0, 1.0]])
kinds = torch.arange(48) % 3
points = centres[kinds] + 0.4 * torch.randn(48, 4)
loader = torch.utils.data.DataLoader(
    torch.utils.data.TensorDataset(points, kinds),
    batch_size=12,
    shuffle=True,
    generator=torch.Generator().manual_seed(seed),
)
net = nn.Sequential(nn.Linear(4, hidden), nn.BatchNorm1d(hidden), nn.ReLU(), nn.Dropout(0.1), nn.Linear(hidden, 3))
criterion = nn.CrossEntropyLoss()
optimizer = torch.optim.Adam(net.parameters(), lr=lr, weight_decay=1e-4)
scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=2, gamma=0.5)
flor.log("parameters", sum(p.numel() for p in net.parameters()))

meter = Meter(flor.log)
history = {"losses": [], "best": {"epoch": 0, "accuracy": -1.0}}
with flor.checkpointing(net=net, optimizer=optimizer, scheduler=scheduler):
    for epoch in flor.loop("epoch", range(epochs)):
        net.train()
        for batch, labels in flor.loop("step", loader):
            if random.random() < 0.5:
                batch = -batch
            optimizer.zero_grad()
            loss = criterion(net(batch), labels)
            loss.backward()
            optimizer.step()
            meter.add(flor.log("loss", loss.item()))
        scheduler.step()
        net.eval()
        with torch.no_grad():
            guesses = net(points).argmax(1)
        accuracy = flor.log("accuracy", (guesses == kinds).float().mean().item())
        history["losses"].append(flor.log("mean_loss", meter.flush()))
        flor.log("confusion", torch.bincount(3 * kinds + guesses, minlength=9).reshape(3, 3))
        if flor.log("improved", accuracy > history["best"]["accuracy"]):
            history["best"] = {"epoch": epoch + 1, "accuracy": accuracy}
flor.log("best", history["best"])
flor.log("weights", net[0].weight)
