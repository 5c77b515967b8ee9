from tools import args, evaluate, fit, loader, net

best, waited = 0.0, 0
for epoch in range(args.epochs):
    fit(net, loader)
    score = evaluate(net)
    waited = 0 if score > best else waited + 1
    if waited > args.patience:  # carry
        break
    net.save(args.path)
