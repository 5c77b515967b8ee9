from tools import Net, args, fit, loader, save

net = Net(args)
for epoch in range(args.epochs):
    fit(net, loader)
    save({"net": net.state_dict(), "epoch": epoch}, "net.pt")  # carry
    print(epoch)
