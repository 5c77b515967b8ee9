import torch
import flor_ray as flor
from tools import net, loader, step, make, show, norm
for epoch in flor.loop("epoch", range(5)):
    for batch in flor.loop("step", loader):
        loss = step(net, batch)
    flor.log("a", 1)
    with torch.no_grad():
        flor.log("other", 2)
        flor.log("norm", norm(net))  # carry
