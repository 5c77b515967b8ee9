import numpy as np

learning_rate = 0.1
n_epochs = 5
rng = np.random.default_rng(0)
x = rng.normal(size=(64, 3))
y = x @ np.array([1.0, -2.0, 0.5])
w = np.zeros(3)
for epoch in range(n_epochs):
    for start in range(0, 64, 16):
        rows, wanted = x[start : start + 16], y[start : start + 16]
        w -= learning_rate * rows.T @ (rows @ w - wanted) / len(rows)
    error = float(((x @ w - y) ** 2).mean())
    print(epoch, error)
    # hindsight: flor.log("norm", float(np.linalg.norm(w)))
