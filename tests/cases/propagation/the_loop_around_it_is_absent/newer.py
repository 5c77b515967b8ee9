from tools import args, evaluate, fit, loader, net, probes

for epoch in range(args.epochs):
    fit(net, loader)
    for probe in probes:
        score = evaluate(net, probe)
        probe.remember(score)  # carry
    net.save(epoch)
