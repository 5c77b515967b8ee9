from tools import Net, args, fit, loader

net = Net(args)
for p in net.parameters():
    p.requires_grad = True
count = sum(p.numel() for p in net.parameters())  # carry
fit(net, loader)
