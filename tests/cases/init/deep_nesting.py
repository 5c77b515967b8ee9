import torch
from torch import nn

torch.manual_seed(2)
shards = [torch.randn(12, 4) for _ in range(3)]
net = nn.Linear(4, 1)
opt = torch.optim.SGD(net.parameters(), lr=0.01, momentum=0.9)
num_epochs = 3
for epoch in range(num_epochs):
    for shard in shards:
        for batch in shard.split(4):
            for _ in range(2):
                loss = net(batch).pow(2).mean()
                opt.zero_grad()
                loss.backward()
                opt.step()
    # hindsight: flor.log("norm", net.weight.norm().item())
