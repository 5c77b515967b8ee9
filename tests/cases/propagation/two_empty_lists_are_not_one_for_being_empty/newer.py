from tools import draw, mean, rate, save, tile


def validate(net, loader):
    pictures = []
    for x, y in loader:
        guess = net(x)
        if len(pictures) < 9:
            pictures.append(draw(x, y, guess))
    scores = rate(loader, net)
    save(tile(pictures))  # carry
    return scores
