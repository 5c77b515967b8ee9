from tools import config, fit, loader, net, plan

name, steps = plan(config)
for _ in range(config.warmup):
    net.warm_up(loader)
for epoch in range(config.epochs):
    fit(net, loader, steps)
