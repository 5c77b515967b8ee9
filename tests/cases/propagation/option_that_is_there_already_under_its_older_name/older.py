from torch.utils.data import DataLoader

from tools import Net, args, fit, train_set

loader = DataLoader(train_set, shuffle=True, batch_size=args.bs)
steps = len(train_set) // args.bs
net = Net()
fit(net, loader, epochs=args.epochs)
