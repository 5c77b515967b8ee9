from tools import Net, args, fit, loader

model = Net(args)

fit(model, loader)
