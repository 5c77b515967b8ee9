from tools import args, evaluate, loader, net

best = 0.0


def validate(epoch):
    global best
    score = evaluate(net, loader)
    best = max(best, score)  # carry
    print(epoch, score)
    return score
