import flor_ray as flor
from tools import *

for s in samples:
    x, y = split(s)
    flor.log("x", x)  # carry
    loss = task(x, y)
