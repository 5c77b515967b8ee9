import copy

import torch
from torch import nn


def validate(net, data):
    net.eval()
    with torch.no_grad():
        losses = [net(batch).pow(2).mean().item() for batch in data.split(4)]
    net.train()
    return sum(losses) / len(losses)


def run(epochs=8, patience=2):
    torch.manual_seed(6)
    net = nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.2), nn.Linear(4, 1))
    optimizer = torch.optim.SGD(net.parameters(), lr=0.3)
    data = torch.randn(16, 4)
    best, best_state, bad = float("inf"), None, 0
    for epoch in range(epochs):
        for batch in data.split(4):
            optimizer.zero_grad()
            net(batch).pow(2).mean().backward()
            optimizer.step()
        loss = validate(net, data)
        # hindsight: flor.log("norm", net[0].weight.norm().item())
        if loss < best - 0.05:
            best, best_state, bad = loss, copy.deepcopy(net.state_dict()), 0
        else:
            bad += 1
            if bad > patience:
                print("early stop at", epoch)
                break
    net.load_state_dict(best_state)
    return best


if __name__ == "__main__":
    print(run())
