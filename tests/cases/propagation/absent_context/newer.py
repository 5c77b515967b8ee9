import flor_ray as flor
from train_tools import net, loader, train_step, Discriminator

critic = Discriminator()
for epoch in flor.loop("epoch", range(5)):
    for batch in flor.loop("step", loader):
        fake = net(batch)
        realism = critic(fake)
        realism.backward()
        flor.log("realism", realism.mean())  # carry
        train_step(net, batch)
