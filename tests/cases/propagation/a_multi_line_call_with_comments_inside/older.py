from tools import Net, SGD, args, fit, loader

model = Net(args)
for epoch in range(args.epochs):
    fit(model, optimizer, loader)
