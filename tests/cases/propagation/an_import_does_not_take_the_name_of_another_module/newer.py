import torch
from tqdm import tqdm  # carry

from tools import loader, net, step

for batch in tqdm(loader):
    loss = step(net, batch)
net.save()
