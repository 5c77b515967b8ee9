import flor_ray as flor
from lab import categories, held_out, loader, model, optimizer

counts = [held_out.count(kind) for kind in categories]
flor.log("counts", counts)  # carry
for epoch in flor.loop("epoch", range(5)):
    for x, y in flor.loop("step", loader):
        outputs = model(x, y)
        outputs.loss.backward()
        optimizer.step()
    for x, y in held_out:
        outputs = model(x, y)
    flor.log("loss", outputs.loss.item())
