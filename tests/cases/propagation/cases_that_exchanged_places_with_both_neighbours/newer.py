from tools import SGD, Adam, args, fit, net

match args.optimizer:
    case "adam":
        optimizer = Adam(net.parameters(), lr=args.lr)
        optimizer.amsgrad = True  # carry
        optimizer.fused = True
    case "sgd":
        optimizer = SGD(net.parameters(), lr=args.lr)
fit(net, optimizer)
