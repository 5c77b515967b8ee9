import torch
from torch import nn


def training(net, data, epochs):
    opt = torch.optim.SGD(net.parameters(), lr=0.1)
    for epoch in range(epochs):
        for batch in data.split(4):
            opt.zero_grad()
            loss = net(batch).pow(2).mean()
            loss.backward()
            opt.step()
        yield epoch, loss.item()


for epoch, loss in training(nn.Linear(4, 1), torch.randn(16, 4), 3):
    print(epoch, loss)
