from tools import Net, SGD, StepLR, config, fit, loader

net = Net(config)
# optimisation
optimizer = SGD(net.parameters(), lr=config.lr)
milestones = [30, 60, 80]  # carry
fit(net, optimizer, loader)
