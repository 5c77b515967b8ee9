import flor_ray as flor

for epoch in range(5):
    train_loss = run(net, data)
    show(train_loss)
    test_loss = check(net, others)
    show(test_loss)
    flor.log("gap", test_loss - train_loss)  # carry
    flor.log("loss", test_loss)  # carry
