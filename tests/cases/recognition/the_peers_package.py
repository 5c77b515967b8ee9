import flor
from flor import MTK as Flor
import florence
import my_flor_ray

flor.log("a", 1)  # ours: log "a"
Flor.log("b", 1)  # ours: log "b"
florence.log("c", 1)  # perhaps: log "c"
my_flor_ray.log("d", 1)  # perhaps: log "d"
