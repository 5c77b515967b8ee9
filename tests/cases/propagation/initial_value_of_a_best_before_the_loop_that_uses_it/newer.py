from tools import *

net = make()
best = 0  # carry
with bar() as b:
    for e in range(9):
        acc = run(e)
        if acc > best:
            best = acc
save(net)
