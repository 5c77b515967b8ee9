import flor_ray as flor

for epoch in range(5):
    loss = train()
    if rank != 0:
        save(loss)
        tell(loss)
