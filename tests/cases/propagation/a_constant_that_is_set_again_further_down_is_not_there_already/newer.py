from tools import args, fit, loader, net, test_loader

net.to(args.device)
total = 0  # carry
for batch in loader:
    total += fit(net, batch)
print("train", total)
total = 0
for batch in test_loader:
    total += net.score(batch)
print("test", total)
