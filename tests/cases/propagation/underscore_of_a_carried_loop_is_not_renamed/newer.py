from tools import config, fit, loader, net, plan

_, steps = plan(config)
for _ in range(config.warmup):  # carry
    net.warm_up(loader)
for epoch in range(config.epochs):
    fit(net, loader, steps)
