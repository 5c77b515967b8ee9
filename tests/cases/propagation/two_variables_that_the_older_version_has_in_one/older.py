import flor_ray as flor

for epoch in range(5):
    loss = run(net, data)
    show(loss)
    loss = check(net, others)
    show(loss)
