from tools import *

net = make()
best = 0
print("x")
for e in range(9):
    train(e)
    a = test(e)
    if a > best:
        best = a
print(e)
save(net)
