from tools import args, fit, loader, net

for epoch in range(args.epochs):
	for batch in loader:
		fit(net, batch)
	net.save(epoch)
