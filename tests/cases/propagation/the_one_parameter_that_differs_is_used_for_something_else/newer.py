def train(net, data, average=False, epochs=3):
    for epoch in range(epochs):
        for batch in data:
            net.step(batch)
        print("averaged", average)  # carry
        save(net)
