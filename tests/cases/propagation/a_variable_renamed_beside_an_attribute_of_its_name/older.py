def fit(self, index):
    noise = self.noises[index]
    size = self.sizes[index]
    return run(noise, weight, size)


def configure(self, values):
    print(values)
