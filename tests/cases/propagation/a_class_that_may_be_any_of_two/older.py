class LayerNorm(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.dim = dim

    def forward(self, x):
        return x


class PreNorm(nn.Module):
    def __init__(self, dim, inner):
        super().__init__()
        self.dim = dim

    def forward(self, x):
        return inner(x)


class Block(nn.Module):
    def __init__(self, dim):
        self.mlp = nn.Linear(dim, dim)
