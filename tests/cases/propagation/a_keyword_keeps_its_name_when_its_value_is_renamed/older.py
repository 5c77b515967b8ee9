from tools import Net, SGD, StepLR, args, fit, loader

net = Net(args)
opt = SGD(net.parameters(), lr=args.lr)
fit(net, opt, loader)
