import wandb

from tools import args, fit, loader, net

for epoch in range(args.epochs):
    loss = fit(net, loader)
    wandb.save(args.path)  # carry
    print(epoch, loss)
