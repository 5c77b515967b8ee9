from tools import args, fit, load, net

train_set, test_set = load(args.data)
train_set.normalize()
test_set.normalize()  # carry
fit(net, train_set, test_set)
