from tools import net, loader, step

it = 0
while it < 500:
    batch = next(loader)
    l = step(net, batch)
    it += 1
