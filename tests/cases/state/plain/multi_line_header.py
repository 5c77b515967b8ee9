import flor_ray as flor
total = 0
flor.checkpointing()
for epoch in flor.loop(
    "epoch",
    range(4),
):
    for (
        step
    ) in flor.loop(
        "step", [s for s in range(3)]
    ):
        total += step
        flor.log("inner", total)
    flor.log("tail", total)
flor.log("suffix", total)
