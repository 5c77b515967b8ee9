from tools import args, fit, loader, net

for epoch in range(args.epochs):
	for batch in loader:
		if batch.empty:
			continue
		fit(net, batch)
	net.save(epoch)
