from tools import Net, config, fit, loader

depth = config.depth
heads = config.heads
width = config.width
net = Net(width, hidden, depth, heads)
fit(net, loader)
