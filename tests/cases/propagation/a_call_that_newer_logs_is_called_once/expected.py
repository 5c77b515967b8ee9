import flor_ray as flor
from tools import loader, net, take

for epoch in flor.loop("epoch", range(3)):
    for x in flor.loop("step", loader):
        take_result = \
        take(x)
        flor.log("first", take_result[0].item())
        net.fit(x)
    take_result = \
    take(net)
    loss, seconds = take_result
    flor.log("seconds", seconds)
