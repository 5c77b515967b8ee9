import flor_ray as flor
from train_tools import Net, loader, step

model = Net()
for epoch in flor.loop("epoch", range(5)):
    for batch in flor.loop("step", loader):
        step(model, batch)
