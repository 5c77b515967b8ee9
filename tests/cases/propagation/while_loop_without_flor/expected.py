from tools import net, loader, step
import flor_ray as flor

it = 0
while it < 500:
    batch = next(loader)
    l = step(net, batch)
    flor.log("loss", l.item())
    it += 1
