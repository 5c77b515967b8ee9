import numpy as np
import torch

from tools import Net, config, evaluate, held_out

np.random.seed(config.seed)
net = Net(config)
history = np.zeros(config.epochs)
best = np.zeros(1)
for epoch in range(config.epochs):
    net.fit()
    history[epoch] = evaluate(net, held_out)
