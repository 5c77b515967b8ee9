from tools import args, fit, load, log, net

if args.resume:
    state = load(args.resume)
    log(state.keys())
    net.load_state_dict(state)
else:
    net.reset_parameters()
fit(net)
