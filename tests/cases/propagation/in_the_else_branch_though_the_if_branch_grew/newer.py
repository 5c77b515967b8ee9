from tools import args, fit, load, net

if args.resume:
    net.load_state_dict(load(args.resume))
else:
    net.reset_parameters()
    net.half()  # carry
fit(net)
