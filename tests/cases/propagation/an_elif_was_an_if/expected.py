from tools import SGD, Adam, args, fit, net

if args.optimizer == "adam":
    optimizer = Adam(net.parameters(), lr=args.lr)
    optimizer.warmup = 0
else:
    optimizer = SGD(net.parameters(), lr=args.lr)
fit(net, optimizer)
