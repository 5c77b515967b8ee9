from tools import SGD, Adam, args, fit, net

match args.optimizer:
    case "sgd":
        optimizer = SGD(net.parameters(), lr=args.lr)
    case "adam":
        optimizer = Adam(net.parameters(), lr=args.lr)
        optimizer.fused = True
fit(net, optimizer)
