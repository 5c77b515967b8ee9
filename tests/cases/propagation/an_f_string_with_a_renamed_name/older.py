from tools import Net, args, evaluate, fit, loader

model = Net(args)
for e in range(args.epochs):
    running_loss = fit(model, loader)
    acc = evaluate(model, loader)
    model.save(f"{e}.pt")
