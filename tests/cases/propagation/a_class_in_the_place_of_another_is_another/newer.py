class SwiGLU(Module):
    def forward(self, x):
        return self.down(silu(self.gate(x)))


class Block(Module):
    def __init__(self, dim):
        self.attention = Attention(dim)
        self.extra = SwiGLU(dim)  # carry
