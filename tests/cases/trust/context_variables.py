# context_variables
# Expected: they are state, wherever multiprocessing has given the script's module a second name.
# Conditions: {"where": ["epoch == 3", null]}
import contextvars, threading
cv = contextvars.ContextVar("cv", default=0)
loc = threading.local(); loc.n = 0
flor.checkpointing()
for epoch in flor.loop("epoch", range(5)):
    for step in flor.loop("step", range(3)):
        cv.set(cv.get() + step + epoch)
        loc.n += 1
    flor.log("epoch_seen", epoch)
#H     flor.log("cv", cv.get())
#H     flor.log("loc", loc.n)
