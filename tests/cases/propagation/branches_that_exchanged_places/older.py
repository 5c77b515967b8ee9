from tools import args, fit, load, net

if not args.resume:
    net.reset_parameters()
    start = 0
else:
    net.load_state_dict(load(args.resume))
    start = net.epoch + 1
fit(net, start)
