losses = []
from tools import crit, hits, net

for x, y in loader:
    out = net(x)  # carry
    losses.append(crit(out))  # carry
