from tools import best, save_network


def train(net, opt, loader):
    if opt.rank == 0:
        net = parallel(net)
    run(net, loader)
    print("trained")
    if len(opt.devices) > 1:
        save_network(net.module, opt.name)
    else:
        save_network(net, opt.name)
    return net
