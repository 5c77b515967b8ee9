import flor_ray as flor
from tools import clip, loader, net

for epoch in flor.loop("epoch", range(3)):
    for x in flor.loop("step", loader):
        norm = clip(net)
        flor.log("norm", norm)  # carry
        net.fit(x)
