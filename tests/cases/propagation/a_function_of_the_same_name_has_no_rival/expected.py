from weights import weigh


class Right(Module):
    def forward(self, x):
        return x


class Left(Module):
    def forward(self, x):
        x = weigh(x)
        return x
