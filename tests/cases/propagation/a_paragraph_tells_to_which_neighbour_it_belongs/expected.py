from tools import Net, config, fit, loader

net = Net(config)
net.load(config.checkpoint)
print(config.checkpoint)

patience = 5
best = 0.0
for epoch in range(config.epochs):
    best = max(best, fit(net, loader))
