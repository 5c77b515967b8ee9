from tools import args, criterion, loader, net, optimizer

for epoch in range(args.epochs):
    for x, y in loader:
        optimizer.zero_grad()
        loss = criterion(net(x), y)
        loss.backward()
        net.clip(args.clip)
        optimizer.step()
