from tools import args, fit, loader, net, rank

for epoch in range(args.epochs):
    fit(net, loader)
    if epoch % 10 == 0:
        net.average()
        net.save(f"{epoch}.pt")
