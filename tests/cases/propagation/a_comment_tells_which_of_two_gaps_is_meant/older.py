from tools import Net, SGD, StepLR, config, describe, fit, loader

net = Net(config)
# optimisation
optimizer = SGD(net.parameters(), lr=config.lr)
# what is trained
print(config.name)
print(describe(config))
fit(net, optimizer, loader)
