class Net(Module):
    def __init__(self, width):
        self.conv = Conv(width)

    def forward(self, x):
        x = self.conv(x)
        return x
