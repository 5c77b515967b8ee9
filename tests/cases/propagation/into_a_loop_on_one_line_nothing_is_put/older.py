from tools import args, fit, loader, net

for batch in loader: loss = fit(net, batch)
net.save(args.path)
