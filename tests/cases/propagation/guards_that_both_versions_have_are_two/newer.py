import flor_ray as flor
from tools import *

for e in xs:
    loss = fit(e)
    if use_ema:
        flor.log("loss", loss)  # carry
        save(net)
    if use_amp:
        scale(net)
    done(loss)
