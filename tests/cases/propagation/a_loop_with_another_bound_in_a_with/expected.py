import flor_ray as flor
from tools import args, fit, test, warm

for e in range(args.n_epochs):
    flor.log("e", e)
    warm(e)
    test(e)
