import flor_ray as flor
from tools import fit, loader, net

for epoch in flor.loop("epoch", range(3)):
    for x in flor.loop("step", loader):
        size = x.mean()
        size = size * 2
        flor.log("x", size)
        fit(net, x)
    size = net.norm()
    size = size * 3
    flor.log("net", size)
