from tools import args, fit, loader, net, writer

try:
    for epoch in range(args.epochs):
        fit(net, loader)
except KeyboardInterrupt:
    print("stopped")
finally:
    net.save(args.path)
    writer.close()
