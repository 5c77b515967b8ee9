import flor_ray as flor
from tools import *

for e in xs:
    loss = fit(e)
    if loss < args.target:
        flor.log("loss", loss)
        break
    save(loss)
