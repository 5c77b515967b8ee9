import flor_ray
from train_tools import net, loader, train_step

for epoch in flor_ray.loop("epoch", range(5)):
    for batch in flor_ray.loop("step", loader):
        loss = train_step(net, batch)
        flor_ray.log("loss", loss)
