import flor_ray as flor

images, labels = load()
test_images, test_targets = images[1400:], labels[1400:]
net = build()
for epoch in flor.loop("epoch", range(5)):
    logits = net(test_images)
    flor.log("accuracy", (logits.argmax(1) == test_targets).mean())  # carry
    print(epoch)
