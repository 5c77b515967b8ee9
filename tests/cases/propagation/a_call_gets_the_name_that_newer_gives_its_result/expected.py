import flor_ray as flor
from tools import clip_grad_norm_, loader, loss_of, net, optimizer

for epoch in flor.loop("epoch", range(3)):
    for x in flor.loop("step", loader):
        loss = loss_of(net, x)
        loss.backward()
        # not too far
        norm = \
        clip_grad_norm_(
            net.parameters(),
            max_norm=5.0,
        )  # of all
        flor.log("norm", norm)
        optimizer.step()
