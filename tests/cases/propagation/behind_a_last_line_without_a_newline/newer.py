from tools import args, fit, loader, net

for epoch in range(args.epochs):
    fit(net, loader)
net.save(args.path)
net.push(args.hub)  # carry
