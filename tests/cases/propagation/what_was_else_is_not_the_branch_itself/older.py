import flor_ray as flor

for epoch in range(5):
    loss = train()
    if warm:
        go_on(loss)
        save(loss)
