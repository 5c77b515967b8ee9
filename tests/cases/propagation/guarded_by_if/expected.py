import flor_ray as flor
from train_tools import net, loader, train_step

for epoch in flor.loop("epoch", range(5)):
    for i, batch in enumerate(flor.loop("step", loader)):
        loss = train_step(net, batch)
        if i % 10 == 0:
            flor.log("loss", loss)
    print("done")
