"""ResNet-152 on pictures in ImageNet's folders."""

import argparse
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader, Dataset

import flor_ray as flor

SIZES = {
    "tiny": {"blocks": (1, 1, 2, 1), "width": 8, "resize": 36, "crop": 32, "batch": 16},
    "paper": {"blocks": (3, 8, 36, 3), "width": 64, "resize": 256, "crop": 224, "batch": 64},
}

parser = argparse.ArgumentParser()
parser.add_argument("--size", choices=SIZES, default="tiny")
parser.add_argument("--epochs", type=int, default=4)
parser.add_argument("--lr", type=float, default=0.1)
args = parser.parse_args()
size = SIZES[args.size]
device = "cuda" if torch.cuda.is_available() else "cpu"


class Pictures(Dataset):
    """Each folder is a class."""

    def __init__(self, root):
        self.classes = sorted(path.name for path in Path(root).iterdir())
        self.samples = [
            (path, label) for label, name in enumerate(self.classes) for path in sorted((Path(root) / name).iterdir())
        ]

    def __len__(self):
        return len(self.samples)

    def __getitem__(self, index):
        path, label = self.samples[index]
        return self.transform(Image.open(path).convert("RGB")), label

    def transform(self, image):
        """The shorter side resized, the middle cropped, ImageNet's means and deviations taken out."""
        scale = size["resize"] / min(image.size)
        image = image.resize((round(image.width * scale), round(image.height * scale)), Image.BILINEAR)
        left, top = (image.width - size["crop"]) // 2, (image.height - size["crop"]) // 2
        image = image.crop((left, top, left + size["crop"], top + size["crop"]))
        array = np.asarray(image, dtype=np.float32) / 255
        array = (array - np.float32([0.485, 0.456, 0.406])) / np.float32([0.229, 0.224, 0.225])
        return torch.from_numpy(array).permute(2, 0, 1)


class Bottleneck(nn.Module):
    def __init__(self, inside, width, stride):
        super().__init__()
        outside = 4 * width
        self.conv1 = nn.Conv2d(inside, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, outside, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(outside)
        self.downsample = nn.Identity()
        if stride != 1 or inside != outside:
            self.downsample = nn.Sequential(
                nn.Conv2d(inside, outside, 1, stride, bias=False), nn.BatchNorm2d(outside)
            )

    def forward(self, x):
        y = torch.relu(self.bn1(self.conv1(x)))
        y = torch.relu(self.bn2(self.conv2(y)))
        return torch.relu(self.bn3(self.conv3(y)) + self.downsample(x))


class ResNet(nn.Module):
    def __init__(self, blocks, width, classes):
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(3, width, 7, 2, 3, bias=False), nn.BatchNorm2d(width), nn.ReLU(), nn.MaxPool2d(3, 2, 1)
        )
        layers, inside = [], width
        for stage, count in enumerate(blocks):
            for block in range(count):
                stride = 2 if stage > 0 and block == 0 else 1
                layers.append(Bottleneck(inside, width * 2**stage, stride))
                inside = 4 * width * 2**stage
        self.layers = nn.Sequential(*layers)
        self.fc = nn.Linear(inside, classes)

    def features(self, x):
        return self.layers(self.stem(x)).mean((2, 3))

    def forward(self, x):
        return self.fc(self.features(x))


train_set, val_set = Pictures("data/train"), Pictures("data/val")
train_loader = DataLoader(train_set, batch_size=size["batch"], shuffle=True)
val_loader = DataLoader(val_set, batch_size=size["batch"])
classes = len(train_set.classes)

net = ResNet(size["blocks"], size["width"], classes).to(device)
criterion = nn.CrossEntropyLoss()
optimizer = torch.optim.SGD(net.parameters(), lr=args.lr, momentum=0.9)

flor.checkpointing(net=net, optimizer=optimizer)
for epoch in flor.loop("epoch", range(args.epochs)):
    net.train()
    for x, y in flor.loop("step", train_loader):
        x, y = x.to(device), y.to(device)
        loss = criterion(net(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        flor.log("loss", loss.item())

    net.eval()
    guessed, true = [], []
    with torch.no_grad():
        for x, y in val_loader:
            guessed.append(net(x.to(device)).argmax(1).cpu())
            true.append(y)
    guessed, true = torch.cat(guessed), torch.cat(true)
    accuracy = (guessed == true).float().mean().item()
    flor.log("accuracy", accuracy)
    print(f"epoch {epoch}: loss {loss.item():.3f}, accuracy {accuracy:.3f}")

torch.save(net.state_dict(), "data/resnet.pt")
