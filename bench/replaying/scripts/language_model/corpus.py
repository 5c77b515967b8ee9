"""Sums as text, character by character, and batches of them."""

import random

import torch

import flor_ray as flor

CHARACTERS = "0123456789+=\n"
INDEX = {character: index for index, character in enumerate(CHARACTERS)}


def write_sums(count):
    lines = []
    for _ in range(count):
        a, b = random.randint(0, 99), random.randint(0, 99)
        lines.append(f"{a}+{b}={a + b}")
    return "\n".join(lines)


def encode(text):
    return torch.tensor([INDEX[character] for character in text])


def get_batch(data, batch_size, block_size):
    starts = torch.randint(len(data) - block_size, (batch_size,))
    block = torch.stack([data[start : start + block_size] for start in starts])
    return block


@torch.no_grad()
def validate(model, data, batches, batch_size, block_size):
    """Mean loss on some random batches."""
    model.eval()
    losses = torch.zeros(batches)
    for k in range(batches):
        block = get_batch(data, batch_size, block_size)
        losses[k] = model(input_ids=block, labels=block).loss
    model.train()
    return losses.mean().item()
