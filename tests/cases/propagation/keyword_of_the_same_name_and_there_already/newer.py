from tools import Net, SGD, StepLR, args, fit, loader

net = Net(args)
optimizer = SGD(net.parameters(), lr=args.lr)
scheduler = StepLR(optimizer=optimizer, step_size=30)  # carry
fit(net, optimizer, loader)
