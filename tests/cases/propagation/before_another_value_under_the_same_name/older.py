import flor_ray as flor
from tools import *

for s in samples:
    y = prepare(s)
    y = other(s)
    use(s)
