import random  # carry
import torch

from tools import Net, args, fit, loader

args.check()
random.seed(args.seed)  # carry
torch.manual_seed(args.seed)
net = Net(args)
fit(net, loader)
