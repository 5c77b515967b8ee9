from tools import args, criterion, loader, net, optimizer

if __name__ == "__main__":
    for epoch in range(args.epochs):
        for x, y in loader:
            optimizer.zero_grad()
            loss = criterion(net(x), y)
            loss.backward()
            net.clip(args.clip)  # carry
            optimizer.step()
