import flor_ray as flor
from train_tools import critic, loader, net, optimizer


def update(g_loss, total):
    g_loss.backward()
    optimizer.step()
    total += g_loss.item()
    flor.log("g_loss", g_loss.item())
    return total


for epoch in flor.loop("epoch", range(5)):
    total = 0.0
    for batch in loader:
        if batch.is_odd:
            g_loss = critic(net(batch))
            total = update(g_loss, total)
    print(epoch, total)
