import torch
from torch import nn

MAX_STEPS = 20
LEARNING_RATE = 1e-2
torch.manual_seed(5)
net = nn.Linear(4, 1)
opt = torch.optim.SGD(net.parameters(), lr=LEARNING_RATE)
data = torch.randn(24, 4)

step = 0
while step < MAX_STEPS:
    order = torch.randperm(len(data))
    for rows in data[order].split(6):
        loss = net(rows).pow(2).mean()
        opt.zero_grad()
        loss.backward()
        opt.step()
        step += 1
        if step >= MAX_STEPS:
            break
    print(f"""
    step {step}
loss {loss.item()}""")
    # hindsight: flor.log("norm", net.weight.norm().item())
