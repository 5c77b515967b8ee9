import flor_ray as flor

for epoch in range(5):
    if training:
        fit(net)
    else:
        flor.log("at", epoch)
        evaluate(net)
        report()
