import flor_ray as flor
from tools import args, done, ema, net, scaler

use_amp = args.amp
for x in net:
    loss = net(x)
    if use_amp:
        scaler.update(loss)
    done(loss)
