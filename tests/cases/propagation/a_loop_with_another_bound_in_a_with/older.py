import flor_ray as flor
from tools import args, fit, test, warm

for e in range(args.n_epochs):
    warm(e)
    test(e)
