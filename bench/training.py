"""What bench/record.py times: models in the shapes that people train, in a plain PyTorch loop with a few calls of ours.

    python training.py --model resnet|bert|gpt2|cnn [--epochs N --steps N] [--frozen] [--save FILE]

`--save` writes a checkpoint by hand after each epoch, with torch.save, as one does without flor_ray. `--frozen` trains
the last layer only. Data are random: what counts is how long a step takes and how large the state is.
"""

import argparse
import os
import time

import torch
from torch import nn

import flor_ray as flor


class Block(nn.Module):
    """ResNet's basic block."""

    def __init__(self, inside: int, outside: int, stride: int) -> None:
        super().__init__()
        self.one = nn.Conv2d(inside, outside, 3, stride, 1, bias=False)
        self.two = nn.Conv2d(outside, outside, 3, 1, 1, bias=False)
        self.norms = nn.ModuleList([nn.BatchNorm2d(outside), nn.BatchNorm2d(outside)])
        self.skip = nn.Conv2d(inside, outside, 1, stride, bias=False) if stride > 1 else nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = torch.relu(self.norms[0](self.one(x)))
        return torch.relu(self.norms[1](self.two(y)) + self.skip(x))


def resnet() -> nn.Module:
    """ResNet-18 on 16x16 pictures: 11 M parameters."""
    widths = [(64, 64, 1), (64, 64, 1), (64, 128, 2), (128, 128, 1), (128, 256, 2), (256, 256, 1), (256, 512, 2)]
    blocks = [Block(*width) for width in [*widths, (512, 512, 1)]]
    head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, 10)]
    return nn.Sequential(nn.Conv2d(3, 64, 3, 1, 1), *blocks, *head)


class Transformer(nn.Module):
    """Token embeddings, encoder layers, and a head: over the vocabulary (GPT-2's shape) or over classes (BERT's)."""

    def __init__(self, words: int, width: int, layers: int, causal: bool, classes: int) -> None:
        super().__init__()
        self.causal = causal
        self.words, self.places = nn.Embedding(words, width), nn.Embedding(64, width)
        layer = nn.TransformerEncoderLayer(width, 4, 4 * width, 0.1, nn.functional.gelu, batch_first=True)
        self.layers = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)
        self.head = nn.Linear(width, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        mask = nn.Transformer.generate_square_subsequent_mask(x.shape[1]) if self.causal else None
        y = self.layers(self.words(x) + self.places(torch.arange(x.shape[1])), mask=mask, is_causal=self.causal)
        out: torch.Tensor = self.head(y).flatten(0, 1) if self.causal else self.head(y[:, 0])
        return out


def cnn() -> nn.Module:
    """The demo's: 0.1 M parameters."""
    convolution = [nn.Conv2d(3, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten()]
    return nn.Sequential(*convolution, nn.Linear(16 * 8 * 8, 128), nn.ReLU(), nn.Dropout(0.2), nn.Linear(128, 10))


def make(name: str) -> tuple[nn.Module, torch.Tensor, torch.Tensor]:
    """A model, a batch of inputs and its labels."""
    if name in ("resnet", "cnn"):
        size = 16
        return (resnet() if name == "resnet" else cnn()), torch.randn(size, 3, 16, 16), torch.randint(0, 10, (size,))
    if name == "bert":
        return Transformer(20_000, 256, 8, False, 10), torch.randint(0, 20_000, (8, 32)), torch.randint(0, 10, (8,))
    words = torch.randint(0, 8_000, (4, 33))
    return Transformer(8_000, 384, 6, True, 8_000), words[:, :-1].contiguous(), words[:, 1:].flatten()


parser = argparse.ArgumentParser()
parser.add_argument("--model", choices=["resnet", "bert", "gpt2", "cnn"], required=True)
parser.add_argument("--epochs", type=int, default=3)
parser.add_argument("--steps", type=int, default=10)
parser.add_argument("--frozen", action="store_true")
parser.add_argument("--save")
options = parser.parse_args()

torch.manual_seed(0)
net, inputs, labels = make(options.model)
if options.frozen:
    for parameter in list(net.parameters())[:-2]:
        parameter.requires_grad_(False)
optimizer = torch.optim.Adam([p for p in net.parameters() if p.requires_grad], lr=1e-4)
criterion = nn.CrossEntropyLoss()
written, started = 0, time.perf_counter()

flor.checkpointing(net=net, optimizer=optimizer)
for _epoch in flor.loop("epoch", range(options.epochs)):
    total = 0.0
    for _ in flor.loop("step", range(options.steps)):
        optimizer.zero_grad()
        loss = criterion(net(inputs), labels)
        loss.backward()
        optimizer.step()
        total += flor.log("loss", loss.item())
    flor.log("mean_loss", total / options.steps)
    if options.save:
        torch.save({"net": net.state_dict(), "optimizer": optimizer.state_dict()}, options.save)
        written += os.path.getsize(options.save)

print(sum(p.numel() for p in net.parameters()), written, time.perf_counter() - started)
