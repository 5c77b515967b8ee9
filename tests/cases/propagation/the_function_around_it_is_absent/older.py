from tools import confusion, fit, loader, net

for epoch in range(10):
    fit(net, loader)
