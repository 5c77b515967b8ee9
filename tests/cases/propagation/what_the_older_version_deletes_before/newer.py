import flor_ray as flor

for epoch in range(5):
    out = run(net)
    show(out)
    save(net)
    flor.log("mean", out.mean())  # carry
    tell(epoch)
