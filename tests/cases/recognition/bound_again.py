import flor_ray as flor
from flor_ray import arg, log, loop

import other as loop

log = print
log("a", 1)  # perhaps: log "a"
for epoch in loop("epoch", range(3)):  # perhaps: loop "epoch"
    pass
arg("lr", 0.1)  # perhaps: arg "lr"
for arg in things:
    flor.log("b", 1)  # ours: log "b"


def local():
    flor.log("c", 1)  # perhaps: log "c"
    for flor in things:
        pass


def takes_it_from_outside():
    global log
    log("d", 1)  # perhaps: log "d"


class Body:
    flor = print

    def method(self):
        flor.log("e", 1)  # ours: log "e"

    flor.log("f", 1)
