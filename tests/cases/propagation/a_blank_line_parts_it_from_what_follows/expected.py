from tools import Net, args, fit, loader, probe

net = Net(args)
loader.shuffle()
patience = 5

probe(args.device)

for epoch in range(args.epochs):
    fit(net, loader)
