from tools import args, fit, loader, net, world

for epoch in range(args.epochs):
    fit(net, loader)
    if world.rank == 0:
        print("epoch", epoch)
        net.sync()  # carry
    loader.shuffle()
