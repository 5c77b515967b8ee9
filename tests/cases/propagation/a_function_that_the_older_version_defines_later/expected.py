import flor_ray as flor

for epoch in range(5):
    train(net)


def norm(values):
    return values / values.max()


show(norm(data))
