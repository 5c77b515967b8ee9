import flor_ray as flor

for epoch in range(5):
    loss = train()
    if rank == 0 and epoch > 3:
        flor.log("loss", loss)  # carry
        save(loss)
        tell(loss)
