import flor_ray as flor


def train(net, loader, device):
    for x in flor.loop("step", loader):
        loss = net(x)
        loss.backward()
