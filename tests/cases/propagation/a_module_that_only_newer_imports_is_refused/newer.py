import wandb

from tools import Net, args, fit, loader

net = Net(args)
for epoch in range(args.epochs):
    loss = fit(net, loader)
    wandb.save(args.path)  # carry
    net.save(args.path)
