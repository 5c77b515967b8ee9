import flor_ray as flor
from lab import categories, held_out, loader, model, optimizer

for epoch in flor.loop("epoch", range(5)):
    for x, y in flor.loop("step", loader):
        out = model(x, y)
        out.loss.backward()
        optimizer.step()
    for x, y in held_out:
        out = model(x, y)
    flor.log("loss", out.loss.item())
