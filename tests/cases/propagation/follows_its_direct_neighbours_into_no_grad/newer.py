import torch


def evaluate(net, loader):
    net.eval()
    correct = 0
    for x, y in loader:
        logits = net(x)
        predicted = logits.argmax(1)  # carry
        correct += (predicted == y).sum().item()
    return correct
