from tools import Net, SGD, StepLR, args, fit, loader

net = Net(args)
opt = SGD(net.parameters(), lr=args.lr)
scheduler = StepLR(optimizer=opt, step_size=30)
fit(net, opt, loader)
