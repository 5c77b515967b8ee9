"""Which digit is it? A small CNN on scikit-learn's 8x8 digits."""

import random

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import flor_ray as flor

hidden_size = flor.arg("hidden_size", 125)
lr = flor.arg("lr", 0.001)
batch_size = flor.arg("batch_size", 100)
num_epochs = 5

digits = load_digits()
images = torch.tensor(digits.images, dtype=torch.float32).unsqueeze(1) / 16
labels = torch.tensor(digits.target)
order = torch.tensor(np.random.permutation(len(images)))
train_images, train_labels = images[order[:1400]], labels[order[:1400]]
test_images, test_targets = images[order[1400:]], labels[order[1400:]]
trainloader = DataLoader(TensorDataset(train_images, train_labels), batch_size=batch_size, shuffle=True)

# 250 hidden units were still more than this data needs
net = nn.Sequential(
    nn.Conv2d(1, 16, 3, padding=1),
    nn.ReLU(),
    nn.MaxPool2d(2),
    nn.Flatten(),
    nn.Linear(16 * 4 * 4, hidden_size),
    nn.ReLU(),
    nn.Dropout(0.2),
    nn.Linear(hidden_size, 10),
)
criterion = nn.CrossEntropyLoss()
optimizer = torch.optim.Adam(net.parameters(), lr=lr)

flor.checkpointing(net=net, optimizer=optimizer)
for epoch in flor.loop("epoch", range(num_epochs)):
    net.train()
    for batch, batch_labels in flor.loop("step", trainloader):
        shift = random.choice([-1, 0, 1])
        batch = torch.roll(batch, shift, dims=3)
        optimizer.zero_grad()
        predictions = net(batch)
        loss = criterion(predictions, batch_labels)
        loss.backward()
        optimizer.step()
        flor.log("loss", loss.item())

    net.eval()
    with torch.no_grad():
        logits = net(test_images)
        test_loss = criterion(logits, test_targets).item()
    print(f"Epoch [{epoch + 1}/{num_epochs}], loss: {loss.item():.4f}, test loss: {test_loss:.4f}")
