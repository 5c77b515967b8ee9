import flor_ray as flor
from tools import *

opt = get_options()
net = build(opt)
flor.log("lr", opt.lr)
fit(net, opt)
