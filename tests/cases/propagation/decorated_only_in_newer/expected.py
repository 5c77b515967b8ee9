import flor_ray as flor
from tools import F, b, clip, d, divergence, evaluate, f, g, get, net, opt, reconstruction, save, step, torch, warm
def evaluate(net):
    n = 0
    for x, y in d:
        n += net.hits(x, y)
    flor.log("hits", n)
    return n
for epoch in flor.loop("epoch", range(3)):
    evaluate(net)
