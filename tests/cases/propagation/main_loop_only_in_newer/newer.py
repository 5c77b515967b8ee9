import flor_ray as flor
from tools import net, loader, step, make, show, norm
lr = flor.arg("lr", 0.1)
history = []
for epoch in flor.loop("epoch", range(5)):
    for batch in flor.loop("step", loader):
        loss = step(net, batch)
    history.append(loss)
    flor.log("history", sum(history))  # carry
