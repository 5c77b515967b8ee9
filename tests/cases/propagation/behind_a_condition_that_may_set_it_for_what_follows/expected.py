import flor_ray as flor
from tools import *

for s in samples:
    y = prepare(s)
    if broken(s):
        y = dummy
    flor.log("y", y)
    use(y)
