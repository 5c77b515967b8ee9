import flor_ray as flor
from flor_ray import MTK

f = flor
record = flor.log
again = record
face, note = MTK, flor.log
typed: object = flor.log
made = once = flor.arg
f.log("a", 1)  # ours: log "a"
record("b", 1)  # ours: log "b"
again("c", 1)  # ours: log "c"
face.log("d", 1)  # ours: log "d"
note("e", 1)  # ours: log "e"
typed("f", 1)  # ours: log "f"
made("lr", 1)  # ours: arg "lr"
once("lr", 1)  # ours: arg "lr"
for epoch in f.loop("epoch", range(3)):  # ours: loop "epoch"
    pass


def inner():
    mine = f
    mine.log("g", 1)  # perhaps: log "g"
    mine = 3


def other():
    ours = record
    ours("h", 1)  # ours: log "h"
    mine.log("i", 1)


ours("j", 1)
if (walrus := flor.log) is not None:
    walrus("k", 1)  # ours: log "k"
