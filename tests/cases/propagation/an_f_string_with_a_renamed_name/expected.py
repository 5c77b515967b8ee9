from tools import Net, args, evaluate, fit, loader

model = Net(args)
for e in range(args.epochs):
    running_loss = fit(model, loader)
    acc = evaluate(model, loader)
    print(f"epoch {e:3d} loss {running_loss:.4f} accuracy {100 * acc:.1f} % of {len(loader)=}")
    model.save(f"{e}.pt")
