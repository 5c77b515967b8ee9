from tools import *

net = make()
losses = []  # carry
with bar() as b:
    for e in range(9):
        losses.append(run(e))
save(net)
