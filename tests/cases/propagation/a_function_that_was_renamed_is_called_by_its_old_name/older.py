from tools import fit, loader, net, args


def validate(net, loader):
    net.eval()
    return sum(net.score(batch) for batch in loader) / len(loader)


for epoch in range(args.epochs):
    fit(net, loader)
    print(epoch)
