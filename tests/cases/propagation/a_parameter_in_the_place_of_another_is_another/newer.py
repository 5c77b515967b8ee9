import flor_ray as flor


def train(net, loader, teacher):
    for x in loader:
        loss = net(x)
        flor.log("norm", teacher.norm())  # carry
        loss.backward()
