from flor_ray import *
from train_tools import net, loader, train_step

for epoch in loop("epoch", range(5)):
    for batch in loop("step", loader):
        loss = train_step(net, batch)
