import flor_ray as flor
from train_tools import net, loader, train_step, held_out, test_step

for epoch in flor.loop("epoch", range(5)):
    total = 0
    for batch in flor.loop("step", loader):
        loss = train_step(net, batch)
        total += loss
    flor.log("total", total)  # carry
    total = 0
    for batch in held_out:
        total += test_step(net, batch)
    flor.log("held_out_total", total)  # carry
