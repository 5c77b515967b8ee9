# order_of_sets
# Expected: each process has another order of texts, and no checkpoint brings it back: that is told.
# Conditions: {"where": ["epoch == 3", null], "warned": true}
words = {f"w{i}" for i in range(20)}
flor.checkpointing()
seen = set()
for epoch in flor.loop("epoch", range(5)):
    for step in flor.loop("step", range(3)):
        seen.add(sorted(words)[(epoch * 7 + step * 3) % 20])
    flor.log("epoch_seen", epoch)
#H     flor.log("order", list(seen))
#H     flor.log("first", next(iter(words)))
#H     flor.log("h", hash("abc"))
