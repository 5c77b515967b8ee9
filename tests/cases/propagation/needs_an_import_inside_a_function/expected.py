import flor_ray as flor
from tools import F, b, clip, d, divergence, evaluate, f, g, get, net, opt, reconstruction, save, step, torch, warm
from sklearn.metrics import f1_score
def evaluate(net):
    preds = net.predict(d)
    flor.log("f1", f1_score(b, preds))
    return preds
for epoch in flor.loop("epoch", range(3)):
    evaluate(net)
