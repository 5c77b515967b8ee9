try:
    import flor_ray as flor
except ImportError:
    flor = None

try:
    from flor_ray import log
except ImportError:

    def log(name, value):
        return value


try:
    import flor_ray as one
except ImportError:
    import flor as one

if flor is not None:
    flor.log("a", 1)  # ours: log "a"
log("b", 1)  # perhaps: log "b"
one.log("c", 1)  # ours: log "c"
nothing = None
nothing.log("d", 1)
