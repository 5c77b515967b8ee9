from tools import draw, mean, rate, save, tile


def validate(net, loader):
    scores = []
    drawings = []
    for x, y in loader:
        guess = net(x)
        scores.append(rate(y, guess))
        if len(drawings) < 9:
            drawings.append(draw(x, y, guess))
    scores = mean(scores)
    return scores
