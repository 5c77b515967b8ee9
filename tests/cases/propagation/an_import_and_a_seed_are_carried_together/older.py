import torch

from tools import Net, args, fit, loader

args.check()
torch.manual_seed(args.seed)
net = Net(args)
fit(net, loader)
