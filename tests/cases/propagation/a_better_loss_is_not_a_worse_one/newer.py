import flor_ray as flor

for epoch in range(5):
    loss = train()
    if loss < best:
        flor.log("better", loss)  # carry
        best = loss
        save()
