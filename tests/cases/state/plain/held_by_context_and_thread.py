import contextvars
import threading

import flor_ray as flor

var = contextvars.ContextVar("var", default=0)
seen = contextvars.ContextVar("seen", default=None)
local = threading.local()
local.n = 0
local.items = []


def tick(by):
    var.set(var.get() + by)
    local.n += by
    local.items.append(local.n)


seen.set([])
flor.checkpointing()
for epoch in flor.loop("epoch", range(4)):
    for step in flor.loop("step", range(2)):
        tick(step + 1)
        seen.get().append(step)
        flor.log("inner", [var.get(), local.n])
    if epoch == 1:
        local.late = 5
    flor.log("tail", [var.get(), len(seen.get()), len(local.items), getattr(local, "late", 0)])
flor.log("suffix", [var.get(), local.n])
