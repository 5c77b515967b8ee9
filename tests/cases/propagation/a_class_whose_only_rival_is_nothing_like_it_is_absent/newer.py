from torch import nn


class Mixup(nn.Module):
    def forward(self, x, y):
        share = self.beta.sample()
        return share * x + (1 - share) * x.flip(0), y


class Net(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.encoder = nn.Linear(dim, dim)
        self.mixup = Mixup()  # carry
        self.head = nn.Linear(dim, 10)
