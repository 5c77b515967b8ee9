from tools import LambdaLR, SGD, args, fit, loader, net

optimizer = SGD(net.parameters(), lr=args.lr)
steps = args.warmup
schedule = LambdaLR(optimizer, lambda step: min(1.0, step / steps))  # carry
for epoch in range(args.epochs):
    fit(net, optimizer, loader, steps)
