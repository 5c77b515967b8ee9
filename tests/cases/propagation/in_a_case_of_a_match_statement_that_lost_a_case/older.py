from tools import SGD, Adam, args, fit, net

match args.optimizer:
    case "adam":
        optimizer = Adam(net.parameters(), lr=args.lr)
    case "sgd":
        optimizer = SGD(net.parameters(), lr=args.lr)
fit(net, optimizer)
