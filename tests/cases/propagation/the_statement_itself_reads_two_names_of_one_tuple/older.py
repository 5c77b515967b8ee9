from tools import args, fit, load, net

train_data, val_data = load(args.data)
train_data.normalize()
fit(net, train_data, val_data)
