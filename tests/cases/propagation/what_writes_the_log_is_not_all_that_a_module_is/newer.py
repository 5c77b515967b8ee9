import logging

import flor_ray as flor

logging.info("begin")
flor.log("level", logging.root.level)  # carry
net = train()
