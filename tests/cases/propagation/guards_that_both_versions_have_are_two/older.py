import flor_ray as flor
from tools import *

for e in xs:
    loss = fit(e)
    if use_amp:
        save(net)
    print(use_ema)
    done(loss)
