from tools import args, evaluate, fit, loader, net

best = 0.0
for epoch in range(args.epochs):
    fit(net, loader)
    if (score := evaluate(net, loader)) > best:
        best = score
        net.save("best.pt")
    net.save("last.pt")
