import flor_ray as flor
import random, copy
import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset, Dataset
X = torch.randn(16, 4); Y = torch.randn(16, 1)
def norm(m):
    return [float(p.detach().double().sum()) for p in m.parameters()]
from sklearn.linear_model import SGDClassifier
a, b = SGDClassifier(random_state=0), SGDClassifier(random_state=1)
alias = {"b": b}
x, y = X.numpy(), (Y.numpy() > 0).ravel().astype(int)
flor.checkpointing(a=a)
for epoch in flor.loop("epoch", range(4)):
    for i in flor.loop("step", range(2)):
        a.partial_fit(x, y, classes=[0, 1]); b.partial_fit(x, y, classes=[0, 1])
    flor.log("tail", [float(a.coef_.sum()), float(alias["b"].coef_.sum()), a.t_])
flor.log("suffix", float(b.coef_.sum()))
