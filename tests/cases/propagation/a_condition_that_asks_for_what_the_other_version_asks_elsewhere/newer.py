from tools import best, save_network


def train(net, opt, loader):
    if len(opt.devices) > 1:
        net = parallel(net)
    run(net, loader, opt.rank)
    print("trained")
    if opt.rank == 0:
        net.load_state_dict(best)  # carry
        save_network(net.module, opt.name, opt.rank)
    return net
