"""Benign or malignant? A multilayer perceptron with batch normalization and dropout. Nothing is seeded."""

import numpy as np
import torch
from sklearn.datasets import load_breast_cancer
from sklearn.preprocessing import StandardScaler
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import flor_ray as flor

hidden = flor.arg("hidden", 64)
lr = flor.arg("lr", 1e-3)
batch_size = flor.arg("batch_size", 32)
epochs = flor.arg("epochs", 8)

features, targets = load_breast_cancer(return_X_y=True)
order = np.random.permutation(len(features))
features = StandardScaler().fit_transform(features)[order]
targets = targets[order]
split = int(0.8 * len(features))
X = torch.tensor(features, dtype=torch.float32)
y = torch.tensor(targets, dtype=torch.float32)
X_train, y_train, X_test, y_test = X[:split], y[:split], X[split:], y[split:]
loader = DataLoader(TensorDataset(X_train, y_train), batch_size=batch_size, shuffle=True, drop_last=True)


class Net(nn.Module):
    def __init__(self, inputs, hidden):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(inputs, hidden),
            nn.BatchNorm1d(hidden),
            nn.ReLU(),
            nn.Dropout(0.3),
            nn.Linear(hidden, hidden),
            nn.BatchNorm1d(hidden),
            nn.ReLU(),
            nn.Dropout(0.3),
        )
        self.head = nn.Linear(hidden, 1)

    def forward(self, x):
        return self.head(self.layers(x)).squeeze(1)


model = Net(X.shape[1], hidden)
optimizer = torch.optim.AdamW(model.parameters(), lr=lr)
loss_fn = nn.BCEWithLogitsLoss()

flor.checkpointing(model=model, optimizer=optimizer)
for epoch in flor.loop("epoch", range(epochs)):
    model.train()
    running_loss = 0.0
    for xb, yb in flor.loop("step", loader):
        # noise on the inputs, as measured by another machine
        xb = xb + 0.05 * torch.randn_like(xb)
        logits = model(xb)
        loss = loss_fn(logits, yb)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        running_loss += loss.item()
        flor.log("loss", loss.item())

    model.eval()
    with torch.no_grad():
        logits = model(X_test)
        val_loss = loss_fn(logits, y_test).item()
        val_acc = ((logits > 0) == y_test).float().mean().item()
    flor.log("val_acc", val_acc)
    flor.log("val_loss", val_loss)
    print(f"epoch {epoch}: loss {running_loss / len(loader):.4f}, val acc {val_acc:.3f}")
