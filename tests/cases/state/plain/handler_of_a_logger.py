import logging

import flor_ray as flor


class Kept(logging.Handler):
    def __init__(self):
        super().__init__()
        self.rows = []

    def emit(self, record):
        self.rows.append(record.getMessage())


logger = logging.getLogger("handler_of_a_logger")
logger.propagate = False
logger.handlers.clear()
kept = Kept()
logger.addHandler(kept)
logger.setLevel(logging.INFO)
flor.checkpointing()
for epoch in flor.loop("epoch", range(4)):
    for step in flor.loop("step", range(2)):
        logger.debug("%d", step)
    logger.info("%d", epoch)
    if epoch == 1:
        logger.setLevel(logging.DEBUG)
    flor.log("tail", [len(kept.rows), logger.level])
flor.log("suffix", len(kept.rows))
