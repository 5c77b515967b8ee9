import flor_ray as flor
from train_tools import net, loader, train_step, save
flor.log("parameters", net.size())

for epoch in flor.loop("epoch", range(5)):
    flor.log("lr", net.lr)
    for batch in flor.loop("step", loader):
        loss = train_step(net, batch)
        flor.log("loss", loss)
    save(net)
    flor.log("saved", epoch)
flor.log("final", net.size())
