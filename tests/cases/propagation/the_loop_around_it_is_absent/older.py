from tools import args, evaluate, fit, loader, net

for epoch in range(args.epochs):
    fit(net, loader)
    net.save(epoch)
