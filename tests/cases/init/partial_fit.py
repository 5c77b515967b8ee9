import numpy as np
from sklearn.linear_model import SGDClassifier

config = {"alpha": 1e-3, "epochs": 3, "seed": 0}
rng = np.random.default_rng(config["seed"])
x = rng.normal(size=(60, 4))
y = (x[:, 0] > 0).astype(int)
clf = SGDClassifier(alpha=config["alpha"], random_state=0)
for epoch in range(config["epochs"]):
    for start in range(0, 60, 20):
        clf.partial_fit(x[start : start + 20], y[start : start + 20], classes=[0, 1])
    # hindsight: flor.log("norm", float(np.linalg.norm(clf.coef_)))
