import flor_ray as flor
from tools import *

for s in samples:
    x = s[0]
    x = norm(x)
    y = s[1]
    flor.log("x", x)
    loss = task(x, y)
