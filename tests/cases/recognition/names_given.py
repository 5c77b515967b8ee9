import flor_ray as flor

NAME = "constant"
flor.log(name="keyword", value=1)  # ours: log "keyword"
flor.log(value=1, name="swapped")  # ours: log "swapped"
flor.log("in " "parts", 1)  # ours: log "in parts"
flor.log(("bracketed"), 1)  # ours: log "bracketed"
flor.log(r"\raw", 1)  # ours: log "\\raw"
flor.log(NAME, 1)  # ours: log ?
flor.log(f"f{1}", 1)  # ours: log ?
flor.log(f"plain", 1)  # ours: log ?
flor.log(b"bytes", 1)  # ours: log ?
flor.log(7, 1)  # ours: log ?
flor.log("a" if x else "b", 1)  # ours: log ?
flor.log(*pair)  # ours: log ?
flor.log(**both)  # ours: log ?
