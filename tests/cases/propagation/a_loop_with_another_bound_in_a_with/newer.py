import flor_ray as flor
from tools import args, fit, test, warm

with scope():
    for e in range(args.epochs):
        flor.log("e", e)  # carry
        fit(e)
        test(e)
