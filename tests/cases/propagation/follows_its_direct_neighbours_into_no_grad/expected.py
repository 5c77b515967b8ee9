import torch


def evaluate(net, loader):
    net.eval()
    correct = 0
    with torch.no_grad():
        for x, y in loader:
            logits = net(x)
            predicted = logits.argmax(1)
            correct += (predicted == y).sum().item()
    return correct
