from tools import Net, SGD, args, fit, loader


def main():
    net = Net()
    net.to(args.device)  # carry
    optimizer = SGD(net.parameters(), lr=args.lr)
    for epoch in range(args.epochs):
        fit(net, optimizer, loader)


if __name__ == "__main__":
    main()
