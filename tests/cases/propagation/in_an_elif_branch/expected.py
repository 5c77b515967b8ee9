import flor_ray as flor
from tools import F, b, clip, d, divergence, evaluate, f, g, get, net, opt, reconstruction, save, step, torch, warm
for epoch in flor.loop("epoch", range(3)):
    if epoch < 2:
        warm()
    elif epoch < 9:
        l = step(b)
        flor.log("loss", l)
