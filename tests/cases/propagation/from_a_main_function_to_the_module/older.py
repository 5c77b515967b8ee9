from tools import Net, SGD, args, fit, loader

net = Net()
optimizer = SGD(net.parameters(), lr=args.lr)
for epoch in range(args.epochs):
    fit(net, optimizer, loader)
