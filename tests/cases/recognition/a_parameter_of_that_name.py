import flor_ray as flor
from flor_ray import log


def report(flor, value):
    flor.log("a", value)  # perhaps: log "a"


def other(log):
    log("b", 1)  # perhaps: log "b"
    flor.log("c", 1)  # ours: log "c"


def star(*flor, **log):
    flor.log("d", 1)  # perhaps: log "d"
    log("e", 1)  # perhaps: log "e"


call = lambda flor: flor.log("f", 1)  # perhaps: log "f"
default = lambda a=flor.log("g", 1): a  # ours: log "g"
print([flor.log("h", flor) for flor in things])  # perhaps: log "h"
print([flor.log("i", x) for x in things])  # ours: log "i"
print({log("j", log): 1 for log in flor.loop("epoch", things)})  # perhaps: log "j"; ours: loop "epoch"
