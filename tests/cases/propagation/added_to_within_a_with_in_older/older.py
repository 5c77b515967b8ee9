from tools import crit, hits, net

for x, y in loader:
    out = net(x)
    with torch.no_grad():
        total += crit(net(x), y)
