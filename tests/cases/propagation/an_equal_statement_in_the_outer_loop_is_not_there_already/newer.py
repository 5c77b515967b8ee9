from tools import args, loader, net, optimizer, scheduler, test

for epoch in range(args.epochs):
    for x in loader:
        optimizer.step(net(x))
        scheduler.step()  # carry
    test(net)
