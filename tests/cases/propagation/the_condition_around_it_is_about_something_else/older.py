from tools import args, fit, loader, net, world

for epoch in range(args.epochs):
    fit(net, loader)
    if epoch % 10 == 9:
        net.save(args.path)
    loader.shuffle()
