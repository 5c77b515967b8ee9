from tools import Net, SGD, args, fit, loader

model = Net(args)
optimizer = SGD(
    model.parameters(),
    lr=args.lr,  # per batch, not per sample
    # momentum is off for the first runs
    momentum=args.momentum,
)
for epoch in range(args.epochs):
    fit(model, optimizer, loader)
