import flor_ray as flor

for epoch in range(5):
    loss = train()
    if best is not None:
        save()
    if quiet and epoch > 2:
        tell(loss)
