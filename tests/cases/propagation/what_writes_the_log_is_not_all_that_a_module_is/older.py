import flor_ray as flor
import logger

logger.info("begin")
net = train()
