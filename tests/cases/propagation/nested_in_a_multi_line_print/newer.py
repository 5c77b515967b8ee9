import flor_ray as flor
from train_tools import net, loader, train_step

for epoch in flor.loop("epoch", range(5)):
    total = 0
    for i, batch in enumerate(flor.loop("step", loader)):
        loss = train_step(net, batch)
        total += loss
    print("epoch {} loss {:.3f}".format(
        epoch,
        flor.log("loss", total / len(loader)),  # carry
    ))
