def early():
    flor.log("a", 1)  # ours: log "a"


def own():
    import flor_ray as mine

    mine.log("b", 1)  # ours: log "b"

    def inner():
        mine.log("c", 1)  # ours: log "c"
        nonlocal mine


mine.log("d", 1)


def makes_it_global():
    global late
    import flor_ray as late


late.log("e", 1)  # ours: log "e"


class Trainer:
    from flor_ray import log

    log("f", 1)  # ours: log "f"

    def fit(self):
        log("g", 1)  # perhaps: log "g"
        flor.log("h", 1)  # ours: log "h"

    @flor.log("i", 1)  # ours: log "i"
    def decorated(self, x=flor.log("j", 1)):  # ours: log "j"
        pass


if x:
    import flor_ray as flor
with open(name) as log:
    log("k", 1)  # perhaps: log "k"
print("acc", flor.log("l", flor.log("m", 1)))  # ours: log "l"; ours: log "m"
del flor
