from tools import args, fit, loader, net

net.to(args.device)
best = 0.0
for epoch in range(args.epochs):
    acc = fit(net, loader)
    best = max(best, acc)
    net.save(args.path)
