import flor_ray as flor
from tools import evaluate, net

for e in range(9):
    loss, time = evaluate(net)
    print(loss)
