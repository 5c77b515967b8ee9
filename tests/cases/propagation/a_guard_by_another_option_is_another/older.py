import flor_ray as flor
from tools import *

for e in xs:
    loss = fit(e)
    if args.use_amp:
        scaler.update(loss)
    save(loss)
