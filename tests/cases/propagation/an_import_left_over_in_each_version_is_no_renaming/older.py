import sys

from tools import args, fit, loader, net

for epoch in range(args.epochs):
    loss = fit(net, loader)
    print(epoch, loss)
