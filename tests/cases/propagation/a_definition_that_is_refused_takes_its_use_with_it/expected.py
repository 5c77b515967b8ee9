from tools import args, fit, loader, net

for epoch in range(args.epochs):
    for x, y in loader:
        fit(net, x, y)
