import torch
import flor_ray as flor
from train_tools import net, loader, train_step, held_out

for epoch in flor.loop("epoch", range(5)):
    for batch in flor.loop("step", loader):
        loss = train_step(net, batch)
    with torch.no_grad():
        scores = net(held_out)
        for name, p in net.named_parameters():
            flor.log(f"norm/{name}/{epoch}", p.norm().item())  # carry
        flor.log("score", scores.mean().item())  # carry
