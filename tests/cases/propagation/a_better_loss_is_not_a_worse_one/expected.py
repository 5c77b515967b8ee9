import flor_ray as flor

for epoch in range(5):
    total = train()
    if total > best:
        best = total
        save()
