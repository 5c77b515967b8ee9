import flor_ray as flor
from tools import loader, optimizer, scheduler, world

for epoch in flor.loop("epoch", range(3)):
    for x in flor.loop("step", loader):
        scheduler.step(x)
        optimizer.step(x)
    scheduler.step()
