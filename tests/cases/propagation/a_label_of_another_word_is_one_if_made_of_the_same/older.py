import flor_ray as flor

images, labels = load()
test_images, test_labels = images[1400:], labels[1400:]
net = build()
for epoch in flor.loop("epoch", range(5)):
    logits = net(test_images)
    print(epoch)
