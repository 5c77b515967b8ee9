class RMSNorm(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.dim = dim

    def forward(self, x):
        return x


class Block(nn.Module):
    def __init__(self, dim):
        self.mlp = nn.Linear(dim, dim)
        self.norm = RMSNorm(dim)  # carry
