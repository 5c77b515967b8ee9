import flor_ray as flor
from tools import Net, loader

def validate(net, threshold):
    score = net.score(loader)
    flor.log("passed", score > threshold)  # carry
    return score

net = Net()
for epoch in flor.loop("epoch", range(5)):
    print(validate(net, 0.5))
