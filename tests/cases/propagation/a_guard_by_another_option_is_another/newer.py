import flor_ray as flor
from tools import *

for e in xs:
    loss = fit(e)
    if args.use_ema:
        flor.log("loss", loss)  # carry
        ema.update(net)
    save(loss)
