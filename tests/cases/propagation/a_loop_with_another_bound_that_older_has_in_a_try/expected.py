import flor_ray as flor
from tools import args, fit, test, warm

try:
    for e in range(args.n_epochs):
        flor.log("e", e)
        warm(e)
        test(e)
except KeyboardInterrupt:
    pass
