import math
from math import log

import flor_ray


class History:
    def log(self, value):
        self.value = value

    def loop(self, name, over):
        return over


class MTK:
    @staticmethod
    def log(name, value):
        pass


def flor():
    pass


history = History()
history.log("a", 1)
history.loop("epoch", range(3))
MTK.log("b", 1)
flor.log("c", 1)
log("d", 1)
math.log(2.0, 10)
numbers = [1]
numbers.log("e", 1)
flor_ray.log("f", 1)  # ours: log "f"
