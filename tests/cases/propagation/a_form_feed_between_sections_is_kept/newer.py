from tools import Net, args, fit, loader

net = Net(args)
net.to(args.device)  # carry
fit(net, loader)
