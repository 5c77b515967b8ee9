from tools import *

net = make()
print("x")
for e in range(9):
    train(e)
    losses.append(train(e))
print(e)
save(net)
