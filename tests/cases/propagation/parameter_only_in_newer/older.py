import flor_ray as flor
from tools import Net, loader

def validate(net):
    score = net.score(loader)
    return score

net = Net()
for epoch in flor.loop("epoch", range(5)):
    print(validate(net))
