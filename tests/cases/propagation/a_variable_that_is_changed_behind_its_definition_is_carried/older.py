import flor_ray as flor
from tools import fit, loader, net

for epoch in flor.loop("epoch", range(3)):
    for x in flor.loop("step", loader):
        fit(net, x)
