from flor_ray import *
from math import *

log("a", 1)  # perhaps: log "a"
