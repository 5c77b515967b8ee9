import flor_ray as flor

def norm(net):
    return sum(p.norm() for p in net.parameters())


for epoch in range(5):
    train(net)
    flor.log("norm", norm(net))  # carry
