from math import *
from flor_ray import *

lr = arg("lr", 0.1)  # ours: arg "lr"
for epoch in loop("epoch", range(3)):  # ours: loop "epoch"
    log("a", 1)  # ours: log "a"
    MTK.log("b", 1)  # ours: log "b"
    exp("c", 1)
flor.log("d", 1)


def log_it(log):
    log("e", 1)  # perhaps: log "e"
