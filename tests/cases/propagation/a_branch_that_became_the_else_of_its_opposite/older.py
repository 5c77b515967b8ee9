import flor_ray as flor

for epoch in range(5):
    if training:
        fit(net)
    else:
        evaluate(net)
        report()
