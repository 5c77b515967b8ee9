import torch


def evaluate(net, loader):
    net.eval()
    outputs = []
    for x in loader:
        with torch.no_grad():
            logits = net(x)
            logits = logits.float().cpu()
            outputs.append(logits)
    return torch.cat(outputs)
