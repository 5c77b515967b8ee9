import flor_ray as flor
from tools import args, fit

seed = args.seed
for e in range(9):
    loss = fit(e)
    print(loss)
