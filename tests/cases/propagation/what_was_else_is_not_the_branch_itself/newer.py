import flor_ray as flor

for epoch in range(5):
    loss = train()
    if warm:
        begin(loss)
    else:
        flor.log("loss", loss)  # carry
        go_on(loss)
        save(loss)
