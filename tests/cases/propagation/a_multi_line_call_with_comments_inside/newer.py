from tools import Net, SGD, args, fit, loader

net = Net(args)
optimizer = SGD(  # carry
    net.parameters(),
    lr=args.lr,  # per batch, not per sample
    # momentum is off for the first runs
    momentum=args.momentum,
)
for epoch in range(args.epochs):
    fit(net, optimizer, loader)
