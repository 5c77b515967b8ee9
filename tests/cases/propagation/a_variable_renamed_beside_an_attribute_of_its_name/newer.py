def fit(self, index):
    noise = self.noises[index]
    gamma = self.gamma[index]  # carry
    size = self.sizes[index]
    return run(noise, gamma, size)


def configure(self, values):
    self.gamma = values
    print(self.gamma)
