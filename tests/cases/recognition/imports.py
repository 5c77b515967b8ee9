import flor_ray
import flor_ray as flor
import flor_ray.calls
from flor_ray import MTK
from flor_ray import MTK as Flor
from flor_ray import arg, log as l

lr = arg("lr", 0.1)  # ours: arg "lr"
flor.log("a", 1)  # ours: log "a"
flor_ray.log("b", 1)  # ours: log "b"
flor_ray.MTK.log("c", 1)  # ours: log "c"
flor.MTK.arg("batch", 32)  # ours: arg "batch"
l("d", 1)  # ours: log "d"
log("e", 1)
MTK.checkpoints(net, optimizer)  # ours: checkpointing
for epoch in Flor.loop(range(3)):  # ours: loop
    for step in MTK.loop(range(2), "step"):  # ours: loop "step"
        Flor.log("f", step)  # ours: log "f"
with flor.checkpointing(net=net):  # ours: checkpointing
    for epoch in flor.loop("epoch", range(3)):  # ours: loop "epoch"
        while True:
            with flor.iteration("step"):  # ours: iteration "step"
                pass
flor.autolog()  # ours: autolog
other.log("g", 1)
math.log(2.0, 10)
