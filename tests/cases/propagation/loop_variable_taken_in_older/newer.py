import flor_ray as flor
from tools import F, b, clip, d, divergence, evaluate, f, g, get, net, opt, reconstruction, save, step, torch, warm
p = get()
for epoch in flor.loop("epoch", range(3)):
    for b in flor.loop("step", d):
        loss = step(b, p)
    for q in net.parameters():
        flor.log("norm", q.norm())  # carry
