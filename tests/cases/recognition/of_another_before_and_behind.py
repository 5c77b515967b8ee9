import flor_ray as flor
from torch import *
from flor_ray import arg
from flor_ray import log

arg("lr", 0.1)  # perhaps: arg "lr"
log("a", 1)  # perhaps: log "a"
flor.log("b", 1)  # ours: log "b"
from torch.nn import *
