import flor_ray as flor
from tools import args, done, ema, net, scaler

use_ema = args.ema
for x in net:
    loss = net(x)
    if use_ema:
        flor.log("loss", loss)  # carry
        ema.update(net)
    done(loss)
