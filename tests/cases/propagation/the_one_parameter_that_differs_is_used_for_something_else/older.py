def train(net, data, halve=False, epochs=3):
    if halve:
        net.half()
    for epoch in range(epochs):
        for batch in data:
            net.step(batch)
        save(net)
