import numpy as np

seed = 3
n_samples = 100
rng = np.random.default_rng(seed)
x = rng.normal(size=(n_samples, 3))
w = np.linalg.lstsq(x, x.sum(1), rcond=None)[0]
total = 0.0
for row in x:
    total += float(row @ w)
print(total)
