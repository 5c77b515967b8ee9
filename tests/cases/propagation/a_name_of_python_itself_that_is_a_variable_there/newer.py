import flor_ray as flor

for epoch in range(5):
    train(net)
    flor.log("size", sum(net.sizes))  # carry
