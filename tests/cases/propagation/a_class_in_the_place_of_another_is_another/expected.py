class Embedding(Module):
    def forward(self, ids):
        return self.table(ids)


class Block(Module):
    def __init__(self, dim):
        self.attention = Attention(dim)
