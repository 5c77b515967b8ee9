import flor_ray as flor
from tools import F, b, clip, d, divergence, evaluate, f, g, get, net, opt, reconstruction, save, step, torch, warm
@torch.no_grad()
def evaluate(net):
    hits = 0
    for x, y in d:
        hits += net.hits(x, y)
    flor.log("hits", hits)  # carry
    return hits
for epoch in flor.loop("epoch", range(3)):
    evaluate(net)
