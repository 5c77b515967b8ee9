from weights import weigh


class Left(Module):
    def forward(self, x):
        x = weigh(x)  # carry
        return x
