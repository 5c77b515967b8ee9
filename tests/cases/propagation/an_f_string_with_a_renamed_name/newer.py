from tools import Net, args, evaluate, fit, loader

net = Net(args)
for epoch in range(args.epochs):
    train_loss = fit(net, loader)
    accuracy = evaluate(net, loader)
    print(f"epoch {epoch:3d} loss {train_loss:.4f} accuracy {100 * accuracy:.1f} % of {len(loader)=}")  # carry
    net.save(f"{epoch}.pt")
