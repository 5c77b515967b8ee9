import flor_ray as flor

import settings

NAME = "constant"
DEEP = f"{NAME}/{7}" + "s"
TWICE = "a"
TWICE = "b"


class Names:
    GRADIENTS = "gn"
    SET = "s"
    BOTH = GRADIENTS + "b"


class Own(Names):
    LOSS = "loss"


Names.SET = "t"

flor.log(name="keyword", value=1)  # ours: log "keyword"
flor.log(value=1, name="swapped")  # ours: log "swapped"
flor.log("in " "parts", 1)  # ours: log "in parts"
flor.log(("bracketed"), 1)  # ours: log "bracketed"
flor.log(r"\raw", 1)  # ours: log "\\raw"
flor.log(NAME, 1)  # ours: log "constant"
flor.log(DEEP, 1)  # ours: log "constant/7s"
flor.log(TWICE, 1)  # ours: log ?
flor.log(Names.GRADIENTS, 1)  # ours: log "gn"
flor.log(Names.BOTH, 1)  # ours: log "gnb"
flor.log(Names.SET, 1)  # ours: log ?
flor.log(Own.LOSS, 1)  # ours: log ?
flor.log(settings.NAME, 1)  # ours: log ?
flor.log(f"{NAME!r}", 1)  # ours: log ?
flor.log(f"{NAME:>9}", 1)  # ours: log ?
flor.log(f"f{1}", 1)  # ours: log "f1"
flor.log(f"plain", 1)  # ours: log "plain"
flor.log(b"bytes", 1)  # ours: log ?
flor.log(7, 1)  # ours: log ?
flor.log("a" if x else "b", 1)  # ours: log ?
flor.log(*pair)  # ours: log ?
flor.log(**both)  # ours: log ?
for name in ("a", "b"):
    flor.log(name, 1)  # ours: log ?


def inner(given, NAME="other"):
    local = "local"
    flor.log(local, given)  # ours: log "local"
    flor.log(NAME, given)  # ours: log ?
    flor.log(later, given)  # ours: log ?
    flor.log(f"{DEEP}.{local}", given)  # ours: log "constant/7s.local"


later = inner
CHANGED = "c"


def change():
    global CHANGED
    CHANGED += "d"


flor.log(CHANGED, 1)  # ours: log ?
