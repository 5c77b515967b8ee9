from tools import Net, args, fit, loader

model = Net(args)
for param in model.parameters():
    param.requires_grad = True
count = sum(p.numel() for p in model.parameters())
fit(model, loader)
