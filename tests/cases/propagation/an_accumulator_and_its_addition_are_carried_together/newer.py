from tools import args, criterion, loader, net, optimizer

for epoch in range(args.epochs):
    correct = 0  # carry
    for x, y in loader:
        logits = net(x)
        loss = criterion(logits, y)
        loss.backward()
        optimizer.step()
        correct += (logits.argmax(1) == y).sum().item()  # carry
    print(epoch, loss.item())
