from tools import config, fit, loader, net, plan

name, steps = plan(config)
for epoch in range(config.epochs):
    fit(net, loader, steps)
