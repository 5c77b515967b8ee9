from tools import args, fit, loader, net

for epoch in range(args.epochs):
    fit(net, loader)
    if epoch == 0: net.describe()
    net.save(epoch)
