from tqdm import tqdm

from tools import loader, net, step

for batch in tqdm(loader):
    loss = step(net, batch)
    tqdm.write(str(loss))  # carry
net.save()
