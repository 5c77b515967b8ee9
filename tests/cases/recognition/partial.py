import functools
from functools import partial
from functools import partial as part

import flor_ray as flor

norm = functools.partial(flor.log, "norm")
norm(1)  # ours: log "norm"
loss = partial(flor.log, name="loss")
loss(value=1)  # ours: log "loss"
whole = part(flor.log, "whole", 3)
whole()  # ours: log "whole"
again = partial(norm, 4)
again()  # ours: log "norm"
bare = partial(flor.log)
bare("bare", 1)  # ours: log "bare"
rate = partial(flor.arg, "lr")
rate(0.1)  # ours: arg "lr"
printed = partial(print, "x")
printed(1)


def inner(given):
    mine = partial(flor.log, given)
    mine(1)  # ours: log ?
    theirs = given.partial(flor.log, "x")
    theirs(1)
