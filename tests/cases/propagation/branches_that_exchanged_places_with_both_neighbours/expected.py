from tools import args, fit, load, net

if not args.resume:
    net.reset_parameters()
    net.half()
    net.describe()
    start = 0
else:
    state = load(args.resume)
    net.load_state_dict(state)
    start = net.epoch + 1
fit(net, start)
