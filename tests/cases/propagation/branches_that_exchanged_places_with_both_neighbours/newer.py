from tools import args, fit, load, net

if args.resume:
    state = load(args.resume)
    net.load_state_dict(state)
    start = net.epoch + 1
else:
    net.reset_parameters()
    net.half()  # carry
    net.describe()
    start = 0
fit(net, start)
