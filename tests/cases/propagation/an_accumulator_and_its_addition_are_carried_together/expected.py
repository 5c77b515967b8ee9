from tools import args, criterion, loader, net, optimizer

for epoch in range(args.epochs):
    correct = 0
    for x, y in loader:
        outputs = net(x)
        loss = criterion(outputs, y)
        loss.backward()
        optimizer.step()
        correct += (outputs.argmax(1) == y).sum().item()
    print(epoch, loss.item())
