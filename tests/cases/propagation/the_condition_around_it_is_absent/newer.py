from tools import args, criterion, loader, net, optimizer

for step, (x, y) in enumerate(loader):
    loss = criterion(net(x), y)
    loss.backward()
    optimizer.step()
    if step % args.every == 0:
        optimizer.zero_grad()  # carry
        net.save(args.path)
