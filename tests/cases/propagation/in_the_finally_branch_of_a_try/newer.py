from tools import args, fit, loader, net, writer

try:
    fit(net, loader, args.epochs)
except KeyboardInterrupt:
    print("stopped")
finally:
    net.save(args.path)  # carry
    writer.close()
