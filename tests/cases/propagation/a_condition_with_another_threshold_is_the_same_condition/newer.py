from tools import args, fit, loader, net, rank

for epoch in range(args.epochs):
    fit(net, loader)
    if epoch % 5 == 0 and rank == 0:
        net.average()  # carry
        net.save(f"{epoch}.pt")
