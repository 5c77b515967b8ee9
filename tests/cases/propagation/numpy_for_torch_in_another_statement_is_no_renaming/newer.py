import numpy as np
import torch

from tools import Net, config, evaluate, held_out

np.random.seed(config.seed)
torch.manual_seed(config.seed)  # carry
net = Net(config)
history = torch.zeros(config.epochs)
best = torch.zeros(1)
for epoch in range(config.epochs):
    net.fit()
    history[epoch] = evaluate(net, held_out)
