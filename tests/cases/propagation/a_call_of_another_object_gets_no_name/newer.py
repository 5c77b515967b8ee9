import flor_ray as flor
from tools import loader, optimizer, scheduler, world

for epoch in flor.loop("epoch", range(3)):
    for x in flor.loop("step", loader):
        seen = world.step(x)
        flor.log("seen", seen)  # carry
        optimizer.step(x)
    scheduler.step()
