from torch.utils.data import DataLoader

import flor_ray as flor
from tools import Net, args, fit, train_set

loader = DataLoader(train_set, shuffle=True, batch_size=args.bs)
flor.log("batch_size", args.bs)
net = Net()
for epoch in flor.loop("epoch", range(args.epochs)):
    fit(net, loader)
