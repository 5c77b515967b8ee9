import flor_ray as flor
from tools import args, fit

clip = args.clip
for e in range(9):
    loss = fit(e)
    flor.log("clip", clip)  # carry
    print(loss)
