"""Handwritten digits with a convolutional network, randomly shifted, scaled and erased on the way in."""

import random

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader, Dataset

import flor_ray as flor

epochs = flor.arg("epochs", 6)
batch_size = flor.arg("batch_size", 64)
learning_rate = flor.arg("lr", 0.05)
count = flor.arg("count", 1797)


class Digits(Dataset):
    def __init__(self, images, labels, augment):
        self.images, self.labels, self.augment = images, labels, augment

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, index):
        image = self.images[index]
        if self.augment:
            image = np.roll(image, random.randint(-1, 1), axis=random.randint(0, 1))
            image = image * np.random.uniform(0.8, 1.2)
            if random.random() < 0.3:
                row, column = np.random.randint(0, 6, size=2)
                image = image.copy()
                image[row : row + 3, column : column + 3] = 0
        return torch.tensor(image, dtype=torch.float32).unsqueeze(0), self.labels[index]


class ConvNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 16, 3, padding=1)
        self.norm1 = nn.BatchNorm2d(16)
        self.conv2 = nn.Conv2d(16, 32, 3, padding=1)
        self.drop = nn.Dropout2d(0.1)
        self.fc = nn.Linear(32 * 2 * 2, 10)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.norm1(self.conv1(x))), 2)
        x = F.max_pool2d(F.relu(self.drop(self.conv2(x))), 2)
        return self.fc(x.flatten(1))


def evaluate(net, loader):
    net.eval()
    correct, total = 0, 0
    with torch.no_grad():
        for images, labels in loader:
            predictions = net(images).argmax(1)
            correct += (predictions == labels).sum().item()
            total += len(labels)
    return correct / total


digits = load_digits()
images, labels = digits.images[:count] / 16, digits.target[:count]
train_size = int(0.75 * len(images))
trainset = Digits(images[:train_size], labels[:train_size], augment=True)
testset = Digits(images[train_size:], labels[train_size:], augment=False)
trainloader = DataLoader(trainset, batch_size=batch_size, shuffle=True)
testloader = DataLoader(testset, batch_size=256)

net = ConvNet()
optimizer = torch.optim.SGD(net.parameters(), lr=learning_rate, momentum=0.9, nesterov=True)
scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=2, gamma=0.5)

flor.checkpointing(net=net, optimizer=optimizer, scheduler=scheduler)
for epoch in flor.loop("epoch", range(epochs)):
    net.train()
    seen = 0
    for inputs, targets in flor.loop("batch", trainloader):
        optimizer.zero_grad()
        outputs = net(inputs)
        loss = F.cross_entropy(outputs, targets)
        loss.backward()
        optimizer.step()
        seen += len(targets)
        flor.log("train_loss", loss.item())
    scheduler.step()

    accuracy = evaluate(net, testloader)
    flor.log("accuracy", accuracy)
    print(f"epoch {epoch + 1}: {seen} digits seen, accuracy {accuracy:.3f}, lr {scheduler.get_last_lr()[0]:.4f}")
print("Finished Training")
