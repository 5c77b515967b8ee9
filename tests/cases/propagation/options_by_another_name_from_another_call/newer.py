import flor_ray as flor
from tools import *

args = tyro.cli(Args)
net = build(args)
flor.log("lr", args.lr)  # carry
fit(net, args)
