from tools import args, fit, loader, net

net.to(args.device)
best = 0.0  # carry
for epoch in range(args.epochs):
    score = fit(net, loader)
    best = max(best, score)  # carry
    net.save(args.path)
