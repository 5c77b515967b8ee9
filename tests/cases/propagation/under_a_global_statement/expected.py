from tools import args, evaluate, loader, net

best = 0.0


def validate(epoch):
    global best
    acc = evaluate(net, loader)
    best = max(best, acc)
    print(epoch, acc)
    return acc
