import flor_ray as flor
from tools import done, fit, opt

for i in range(9):
    loss = fit(i)
    group = opt.param_groups[0]
    group["lr"] = i
    flor.log("lr", group["lr"])  # carry
    done(loss)
