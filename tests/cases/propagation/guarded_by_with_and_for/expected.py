import torch
import flor_ray as flor
from train_tools import model, loader, train_step, held_out

for e in flor.loop("epoch", range(5)):
    for batch in flor.loop("step", loader):
        loss = train_step(model, batch)
    with torch.no_grad():
        scores = model(held_out)
        for name, p in model.named_parameters():
            flor.log(f"norm/{name}/{e}", p.norm().item())
        flor.log("score", scores.mean().item())
