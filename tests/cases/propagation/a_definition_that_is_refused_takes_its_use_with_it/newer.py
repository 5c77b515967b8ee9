from tools import args, fit, loader, mixup, net

for epoch in range(args.epochs):
    for x, y in loader:
        x, share = mixup(x, args.alpha)
        weight = 1 - share  # carry
        fit(net, x, y)
        net.scale(weight)  # carry
