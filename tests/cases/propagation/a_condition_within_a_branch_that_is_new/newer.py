from tools import choose, softmax


def generate(net, steps, draw, raw):
    found = []
    for step in range(steps):
        x = net(step)
        if raw:
            x = mixture(x)
        else:
            x = softmax(x)
            if draw:
                pick = choose(x)  # carry
                x.zero_()
                x[pick] = 1.0
        found.append(x)
    return found
