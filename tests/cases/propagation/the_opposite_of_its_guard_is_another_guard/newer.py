import flor_ray as flor

for epoch in range(5):
    loss = train()
    if best is None:
        flor.log("first", loss)  # carry
        save()
    if not quiet and epoch > 2:
        flor.log("told", epoch)  # carry
        tell(loss)
