from tools import SGD, Adam, Lion, args, fit, net

if args.optimizer == "lion":
    optimizer = Lion(net.parameters(), lr=args.lr)
elif args.optimizer == "adam":
    optimizer = Adam(net.parameters(), lr=args.lr)
    optimizer.amsgrad = True  # carry
    optimizer.fused = True
else:
    optimizer = SGD(net.parameters(), lr=args.lr)
fit(net, optimizer)
