import flor_ray as flor
from tools import F, b, clip, d, divergence, evaluate, f, g, get, net, opt, reconstruction, save, step, torch, warm
def evaluate(net):
    preds = net.predict(d)
    return preds
for epoch in flor.loop("epoch", range(3)):
    evaluate(net)
