import flor_ray as flor
from tools import loader, net, take

for epoch in flor.loop("epoch", range(3)):
    for x in flor.loop("step", loader):
        take(x)
        net.fit(x)
    take(net)
