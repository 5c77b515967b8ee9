from tools import crit, hits, net

for x, y in loader:
    out = net(x)
    total = total + crit(out, y)  # carry
print(total)
