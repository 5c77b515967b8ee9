import flor_ray as flor
from tools import *

for s in samples:
    y = prepare(s)
    flor.log("y", y)  # carry
    use(s)
