import flor_ray as flor
from train_tools import Net, loader, step
SCALE = 100.0
def as_percent(value):
    return SCALE * value
def accuracy(net, batches):
    """How many are right."""
    right = sum(net.right(batch) for batch in batches)
    return as_percent(right / len(batches))

model = Net()
for epoch in flor.loop("epoch", range(5)):
    for batch in flor.loop("step", loader):
        step(model, batch)
    flor.log("accuracy", accuracy(model, loader))
