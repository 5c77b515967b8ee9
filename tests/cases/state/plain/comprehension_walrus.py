import flor_ray as flor
total, last = 0, None
flor.checkpointing()
for epoch in flor.loop("epoch", range(4)):
    for step in flor.loop("step", range(2)):
        if (y := step + total) > 1:
            last = y
        total += len([z for z in range(step + 1) if (last := z) >= 0])
    flor.log("tail", [total, last, y])
flor.log("suffix", [total, last])
