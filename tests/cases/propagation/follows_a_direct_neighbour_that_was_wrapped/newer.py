import torch


def evaluate(net, loader):
    net.eval()
    outputs = []
    for x in loader:
        logits = net(x)
        logits = logits.float().cpu()  # carry
        outputs.append(logits)
    return torch.cat(outputs)
