import flor_ray as flor

for batch in loader:
    out = net(batch[0])
    flor.log("first", batch[0].mean())
    loss = compared(out, batch[1])
