import flor_ray as flor
from train_tools import net, loader, train_step

for epoch in flor.loop("epoch", range(5)):
    for batch in flor.loop("step", loader):
        loss = train_step(net, batch)
        flor.log("loss", loss)
