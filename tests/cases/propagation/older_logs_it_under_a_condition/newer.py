import flor_ray as flor
from train_tools import loader, step

for epoch in flor.loop("epoch", range(5)):
    for i, batch in enumerate(flor.loop("step", loader)):
        loss = step(batch)
        flor.log("loss", loss)  # carry
