import torch

from tools import args, fit, loader, net

for epoch in range(args.epochs):
    try:
        fit(net, loader)
    except RuntimeError as error:
        torch.cuda.empty_cache()  # carry
        print("out of memory", error)
    finally:
        loader.close()
