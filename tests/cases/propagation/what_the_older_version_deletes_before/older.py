import flor_ray as flor

for epoch in range(5):
    out = run(net)
    show(out)
    del out
    save(net)
    tell(epoch)
