from tools import LambdaLR, SGD, args, fit, loader, net

opt = SGD(net.parameters(), lr=args.lr)
warmup = args.warmup
for epoch in range(args.epochs):
    fit(net, opt, loader, warmup)
