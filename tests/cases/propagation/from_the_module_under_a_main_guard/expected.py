from tools import Net, SGD, args, fit, loader

if __name__ == "__main__":
    net = Net()
    optimizer = SGD(net.parameters(), lr=args.lr)
    scheduler = optimizer.schedule(args.epochs)
    for epoch in range(args.epochs):
        fit(net, optimizer, loader)
