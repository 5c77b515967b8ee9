from tools import Net, config, fit, loader

width = config.width
depth = config.depth
hidden = 4 * width  # carry
heads = config.heads
net = Net(width, hidden, depth, heads)
fit(net, loader)
