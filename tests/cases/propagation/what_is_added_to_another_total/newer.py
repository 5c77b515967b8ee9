import flor_ray as flor

total = 0
for batch, labels in loader:
    loss = step(batch)
    total += len(labels)  # carry
    show(loss)
