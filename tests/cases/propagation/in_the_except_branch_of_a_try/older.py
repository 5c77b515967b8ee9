import torch

from tools import args, fit, loader, net

for epoch in range(args.epochs):
    try:
        fit(net, loader)
    except RuntimeError as e:
        print("out of memory", e)
    finally:
        loader.close()
