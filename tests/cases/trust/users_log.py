# users_log
# Methods and functions of the user's own that are called like what only reads.
class History:
    def __init__(self):
        self.seen = 0

    def log(self, value):
        self.seen += 1

    def item(self):
        self.seen += 10

    def write(self, value):
        self.seen += 100


def debug(value):
    history.seen += 1000


history, w = History(), 0.5
flor.checkpointing()
for epoch in flor.loop("epoch", range(3)):
    for step in flor.loop("step", range(2)):
        w += 1
    flor.log("w", w)
#H     flor.log("first", history.seen)
    history.log(w)
#H     flor.log("second", history.seen)
    history.write(w)
    history.item()
#H     flor.log("third", history.seen)
    debug(w)
#H flor.log("after", history.seen)
history.log(w)
