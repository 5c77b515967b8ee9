# %% [markdown]
# A notebook as a script.
# %%
%load_ext autoreload
%autoreload 2
!pip --version
files = !ls
# %%
import torch
from torch import nn

lr = 0.1
net = nn.Linear(4, 1)
opt = torch.optim.SGD(net.parameters(), lr=lr)
net?
# %%
for epoch in range(3):
    for batch in torch.randn(16, 4).split(4):
        opt.zero_grad()
        net(batch).pow(2).mean().backward()
        opt.step()
    %time net(batch)
