class Net(Module):
    def __init__(self, width):
        self.conv = Conv(width)
        self.pool = Pool(7)

    def forward(self, x):
        x = self.conv(x)
        x = self.pool(x)  # carry
        return x
