import flor_ray as flor
from tools import net, loader, step

t = 0
while t < 1000:
    batch = next(loader)
    loss = step(net, batch)
    flor.log("loss", loss.item())  # carry
    t += 1
