import flor_ray as flor

for epoch in range(5):
    if not training:
        flor.log("at", epoch)  # carry
        evaluate(net)
        report()
    else:
        fit(net)
