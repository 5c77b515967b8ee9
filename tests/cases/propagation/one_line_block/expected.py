import flor_ray as flor
from train_tools import loader, step

for epoch in flor.loop("epoch", range(5)):
    for batch in flor.loop("step", loader): step(batch)
