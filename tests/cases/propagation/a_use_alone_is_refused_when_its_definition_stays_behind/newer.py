from tools import Ema, args, fit, loader, net

ema = Ema(net, decay=0.999)
for epoch in range(args.epochs):
    fit(net, loader)
    ema.update(net)  # carry
    net.save(args.path)
