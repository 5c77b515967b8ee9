from torch import *
from flor_ray import arg
from flor_ray import log

arg("lr", 0.1)  # ours: arg "lr"
log("a", 1)  # ours: log "a"
