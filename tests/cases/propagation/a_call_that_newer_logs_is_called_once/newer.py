import flor_ray as flor
from tools import loader, net, take

for epoch in flor.loop("epoch", range(3)):
    for x in flor.loop("step", loader):
        flor.log("first", take(x)[0].item())  # carry
        net.fit(x)
    loss, seconds = take(net)
    flor.log("seconds", seconds)  # carry
