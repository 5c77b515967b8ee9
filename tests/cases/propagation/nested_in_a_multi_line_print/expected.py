import flor_ray as flor
from train_tools import net, loader, train_step

for epoch in flor.loop("epoch", range(5)):
    running = 0
    for i, batch in enumerate(flor.loop("step", loader)):
        loss = train_step(net, batch)
        running += loss
    flor.log("loss", running / len(loader))
    print("epoch {} loss {:.3f}".format(
        epoch,
        running / len(loader),
    ))
