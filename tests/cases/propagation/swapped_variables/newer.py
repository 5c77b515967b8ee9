import flor_ray as flor
from tools import F, b, clip, d, divergence, evaluate, f, g, get, net, opt, reconstruction, save, step, torch, warm
for epoch in flor.loop("epoch", range(3)):
    for b in flor.loop("step", d):
        train_loss = f(b)
        val_loss = g(b)
        flor.log("train", train_loss)  # carry
        flor.log("val", val_loss)  # carry
