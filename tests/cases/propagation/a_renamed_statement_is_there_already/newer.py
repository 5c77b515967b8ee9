from tools import Net, SGD, args, criterion, loader

net = Net(args)
optimizer = SGD(net.parameters(), lr=args.lr)
for x, y in loader:
    optimizer.zero_grad()  # carry
    loss = criterion(net(x), y)
    loss.backward()
    optimizer.step()
