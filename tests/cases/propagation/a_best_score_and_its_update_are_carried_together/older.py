from tools import args, fit, loader, net

net.to(args.device)
for epoch in range(args.epochs):
    acc = fit(net, loader)
    net.save(args.path)
