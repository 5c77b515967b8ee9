import flor_ray as flor
from tools import *

for e in xs:
    loss = fit(e)
    if loss < 0.1:
        flor.log("loss", loss)  # carry
        break
    save(loss)
