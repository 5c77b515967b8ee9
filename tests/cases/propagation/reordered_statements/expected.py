import flor_ray as flor
from train_tools import net, optimizer, scheduler, loader, save

for epoch in flor.loop("epoch", range(5)):
    for batch in flor.loop("step", loader):
        loss = net(batch)
        loss.backward()
        optimizer.step()
    save(net, epoch)
    scheduler.step()
    flor.log("lr", scheduler.get_last_lr()[0])
