from tools import args, fit, loader, net

for batch in loader:
    loss = fit(net, batch)
    net.clip(1.0)  # carry
net.save(args.path)
