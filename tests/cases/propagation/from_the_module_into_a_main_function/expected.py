from tools import Net, SGD, args, fit, loader


def main():
    model = Net()
    model.to(args.device)
    optimizer = SGD(model.parameters(), lr=args.lr)
    for epoch in range(args.epochs):
        fit(model, optimizer, loader)


if __name__ == "__main__":
    main()
