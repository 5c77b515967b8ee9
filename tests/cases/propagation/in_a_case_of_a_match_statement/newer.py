from tools import SGD, Adam, args, fit, net

match args.optimizer:
    case "adam":
        optimizer = Adam(net.parameters(), lr=args.lr)
        optimizer.amsgrad = True  # carry
    case "sgd":
        optimizer = SGD(net.parameters(), lr=args.lr)
    case _:
        raise ValueError(args.optimizer)
fit(net, optimizer)
