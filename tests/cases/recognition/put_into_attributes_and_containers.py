import flor_ray as flor


class Trainer:
    log = flor.log

    def __init__(self):
        self.flor = flor
        self.record = flor.log

    def fit(self):
        self.flor.log("a", 1)  # perhaps: log "a"
        self.record("b", 1)
        self.log("c", 1)  # perhaps: log "c"
        log("d", 1)


loggers = [flor.log, print]
loggers[0]("e", 1)
by_name = {"log": flor}
by_name["log"].log("f", 1)  # perhaps: log "f"
getattr(flor, "log")("g", 1)
Trainer().log("h", 1)  # perhaps: log "h"
