from tools import args, evaluate, fit, loader, net

best = 0.0
for epoch in range(args.epochs):
    fit(net, loader)
    net.save("last.pt")
