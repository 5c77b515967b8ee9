import flor_ray as flor


def train(net, loader, device):
    for x in loader:
        loss = net(x)
        loss.backward()
