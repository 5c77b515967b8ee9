import flor_ray as flor
from tools import net, loader, step, make, show, norm
for epoch in flor.loop("epoch", range(5)):
    for batch in flor.loop("step", loader):
        loss = step(net, batch)
