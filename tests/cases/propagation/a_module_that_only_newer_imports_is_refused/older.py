from tools import Net, args, fit, loader

net = Net(args)
for epoch in range(args.epochs):
    loss = fit(net, loader)
    net.save(args.path)
