from tools import args, evaluate, fit, loader, net

best, waited = 0.0, 0
for epoch in range(args.epochs):
    fit(net, loader)
    acc = evaluate(net)
    waited = 0 if acc > best else waited + 1
    net.save(args.path)
