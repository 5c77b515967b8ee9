import flor_ray as flor
from tools import *

for s in samples:
    y = prepare(s)
    if broken(s):
        y = dummy
    use(y)
