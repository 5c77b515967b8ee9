import random

import flor_ray as flor

random.seed(0)
flor.log("draw", random.random())  # carry
net = train()
