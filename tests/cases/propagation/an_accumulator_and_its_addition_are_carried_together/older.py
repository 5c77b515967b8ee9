from tools import args, criterion, loader, net, optimizer

for epoch in range(args.epochs):
    for x, y in loader:
        outputs = net(x)
        loss = criterion(outputs, y)
        loss.backward()
        optimizer.step()
    print(epoch, loss.item())
