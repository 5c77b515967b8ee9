import flor_ray as flor
from tools import net, loader, step, probes

for epoch in flor.loop("epoch", range(5)):
    for batch in flor.loop("step", loader):
        loss = step(net, batch)
    for i, probe in enumerate(probes):
        if i == 3:
            break
        flor.log("probe", net(probe))
