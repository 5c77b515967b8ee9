from tools import crit, hits, net

for x, y in loader:
    out = net(x)
    total += crit(net(x), y)
print(total)
