import flor_ray as flor
record = flor.log
from train_tools import net, loader, train_step

for epoch in flor.loop("epoch", range(5)):
    for batch in flor.loop("step", loader):
        loss = train_step(net, batch)
        record("loss", loss)  # carry
