from tools import Net, args, fit, loader

model = Net(args)
for param in model.parameters():
    param.requires_grad = True
fit(model, loader)
