from train_tools import net, loader, train_step
import flor_ray as flor

for epoch in range(5):
    for batch in loader:
        loss = train_step(net, batch)
        flor.log("loss", loss)
