import flor_ray as flor
from tools import evaluate, net

for e in range(9):
    loss, acc = evaluate(net)
    flor.log("acc", acc)  # carry
    print(loss)
