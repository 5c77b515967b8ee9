import flor_ray as flor
from tools import clip, loader, net

norm = 2
for epoch in flor.loop("epoch", range(3)):
    for x in flor.loop("step", loader):
        clip(net)
        net.fit(x, norm)
