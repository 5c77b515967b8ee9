from tools import Net, SGD, args, fit, loader

net = Net()
optimizer = SGD(net.parameters(), lr=args.lr)
scheduler = optimizer.schedule(args.epochs)  # carry
for epoch in range(args.epochs):
    fit(net, optimizer, loader)
