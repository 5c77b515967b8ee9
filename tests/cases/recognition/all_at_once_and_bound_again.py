from flor_ray import *


def log(name, value):
    pass


log("a", 1)  # perhaps: log "a"
arg("lr", 0.1)  # ours: arg "lr"
