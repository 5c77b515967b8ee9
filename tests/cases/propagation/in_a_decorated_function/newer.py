import torch


@torch.no_grad()
def accuracy(net, loader):
    net.eval()
    hits = 0
    for x, y in loader:
        hits += (net(x).argmax(1) == y).sum().item()
    net.train()  # carry
    return hits / len(loader.dataset)
