from rich.progress import track

from tools import loader, net, step

for batch in track(loader):
    loss = step(net, batch)
net.save()
