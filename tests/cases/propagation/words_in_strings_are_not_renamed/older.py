from tools import Net, args, fit, loader, save

model = Net(args)
for e in range(args.epochs):
    fit(model, loader)
    print(e)
