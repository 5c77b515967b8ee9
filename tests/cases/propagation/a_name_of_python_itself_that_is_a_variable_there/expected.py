import flor_ray as flor

sum = 0
for epoch in range(5):
    train(net)
    sum += net.loss
