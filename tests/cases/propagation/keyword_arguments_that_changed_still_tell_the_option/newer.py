from torch.utils.data import DataLoader

from tools import Net, args, fit, train_set

loader = DataLoader(train_set, batch_size=args.batch_size, shuffle=True, num_workers=8, pin_memory=True)
steps = len(train_set) // args.batch_size  # carry
net = Net()
fit(net, loader, epochs=args.epochs)
