from tools import choose, softmax


def generate(net, steps, draw):
    found = []
    for step in range(steps):
        x = net(step)
        x = softmax(x)
        if draw:
            pick = choose(x)
            x.zero_()
            x[pick] = 1.0
        found.append(x)
    return found
