from torch.utils.data import DataLoader

import flor_ray as flor
from tools import Net, args, fit, train_set

loader = DataLoader(train_set, batch_size=args.batch_size, shuffle=True, num_workers=8, pin_memory=True)
flor.log("batch_size", args.batch_size)  # carry
net = Net()
for epoch in flor.loop("epoch", range(args.epochs)):
    fit(net, loader)
