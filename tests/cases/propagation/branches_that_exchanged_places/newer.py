from tools import args, fit, load, net

if args.resume:
    net.load_state_dict(load(args.resume))
    start = net.epoch + 1
else:
    net.reset_parameters()
    net.half()  # carry
    start = 0
fit(net, start)
