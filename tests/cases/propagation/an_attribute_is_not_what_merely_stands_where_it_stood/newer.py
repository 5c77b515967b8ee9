import flor_ray as flor

class Attention(nn.Module):
    def __init__(self, n):
        self.c_attn = nn.Linear(n, 3 * n)
        self.c_proj = nn.Linear(n, n)

    def forward(self, x):
        y = attend(x)
        flor.log("out", self.c_proj.weight.norm())  # carry
        return y
