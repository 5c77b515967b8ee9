from tools import Net, args, fit, loader

model = Net(args)
model.to(args.device)

fit(model, loader)
