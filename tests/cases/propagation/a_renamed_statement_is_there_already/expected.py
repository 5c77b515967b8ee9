from tools import Net, SGD, args, criterion, loader

model = Net(args)
opt = SGD(model.parameters(), lr=args.lr)
for x, y in loader:
    opt.zero_grad()
    loss = criterion(model(x), y)
    loss.backward()
    opt.step()
