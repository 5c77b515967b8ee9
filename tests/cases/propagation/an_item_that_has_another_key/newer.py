import flor_ray as flor

for batch in loader:
    out = net(batch[0])
    flor.log("mean", batch[2].float().mean())  # carry
    flor.log("first", batch[0].mean())  # carry
    loss = compared(out, batch[2])
