import flor_ray as flor

class Attention(nn.Module):
    def __init__(self, n):
        self.key = nn.Linear(n, n)
        self.query = nn.Linear(n, n)
        self.value = nn.Linear(n, n)
        self.proj = nn.Linear(n, n)

    def forward(self, x):
        y = attend(x)
        flor.log("out", self.proj.weight.norm())
        return y
