import flor_ray as flor

for batch in loader:
    out = net(batch[0])
    loss = compared(out, batch[1])
