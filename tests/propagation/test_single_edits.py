"""A log statement is written behind every line of a script in turn, and carried to a version that differs in one edit.

Where the edit alone would put the statement is known: it is the edited script with the statement in it.
"""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from flor_ray.propagation import propagate

SCRIPT = """\
import torch
import torch.nn as nn
import flor_ray as flor
from data import make_loaders

lr = flor.arg("lr", 1e-3)


class Net(nn.Module):
    def __init__(self, hidden=64):
        super().__init__()
        self.fc = nn.Linear(36, hidden)
        self.out = nn.Linear(hidden, 10)

    def forward(self, x):
        x = torch.relu(self.fc(x))
        return self.out(x)


def evaluate(net, loader):
    correct = 0
    total = 0
    with torch.no_grad():
        for images, labels in loader:
            outputs = net(images)
            total += labels.size(0)
            correct += (outputs.argmax(1) == labels).sum().item()
    net.train()
    return correct / total


train_loader, test_loader = make_loaders(32)
net = Net()
criterion = nn.CrossEntropyLoss()
optimizer = torch.optim.SGD(net.parameters(), lr=lr)
with flor.checkpointing(model=net, optimizer=optimizer):
    for epoch in flor.loop("epoch", range(5)):
        running = 0.0
        total = 0
        for images, labels in flor.loop("step", train_loader):
            optimizer.zero_grad()
            outputs = net(images)
            loss = criterion(outputs, labels)
            loss.backward()
            optimizer.step()
            running += loss.item()
            total += 1
        acc = evaluate(net, test_loader)
        flor.log("acc", acc)
        print(epoch, running / total, acc)
"""
VALUES = {
    "acc": "acc",
    "correct": "correct",
    "loss": "loss.item()",
    "net": "sum(p.norm().item() for p in net.parameters())",
    "optimizer": 'optimizer.param_groups[0]["lr"]',
    "outputs": "outputs.mean().item()",
    "running": "running",
    "x": "x.mean().item()",
}


def renamed(old: str, new: str) -> Callable[[str], str]:
    return lambda source: re.sub(rf"\b{old}\b", new, source)


def replaced(old: str, new: str) -> Callable[[str], str]:
    return lambda source: source.replace(old, new)


def in_main(source: str) -> str:
    start = source.index("train_loader, test_loader")
    body = "".join(f"    {line}\n" for line in source[start:].splitlines())
    return f"{source[:start]}def main():\n{body}\n\nmain()\n"


EDITS: dict[str, Callable[[str], str]] = {
    "the optimizer is renamed": renamed("optimizer", "opt"),
    "the model is renamed": renamed("net", "model"),
    "the loss is renamed": renamed("loss", "batch_loss"),
    "the outputs are renamed": renamed("outputs", "logits"),
    "the optimizer is another": replaced("SGD(net.parameters(), lr=lr)", "Adam(net.parameters(), lr=lr, eps=1e-6)"),
    "gradients are clipped": replaced(
        "            optimizer.st", "            clip(net, 1.0)\n            optimizer.st"
    ),
    "the loss is scaled": replaced("            loss.b", "            loss = loss / 2\n            loss.b"),
    "the face is the paper's": lambda s: s.replace(
        "import flor_ray as flor", "from flor_ray import MTK as Flor"
    ).replace("flor.", "Flor."),
    "the size is another": renamed("64", "128"),
    "all is in a function": in_main,
    "totals are not counted": replaced("            total += 1\n", ""),
}


def find_positions() -> list[tuple[int, str]]:
    """Lines that mention a variable, and what would be logged behind them."""
    found = []
    for number, line in enumerate(SCRIPT.splitlines(), 1):
        code = line.strip()
        if (
            code
            and not code.endswith(":")
            and not code.startswith(("import", "from", "return"))
            and "flor.log" not in code
        ):
            found += [(number, value) for name, value in VALUES.items() if re.search(rf"\b{name}\b", code)]
    return found


POSITIONS = find_positions()


@pytest.mark.parametrize("edit", EDITS.values(), ids=EDITS.keys())
def test_one_edit_does_not_lead_a_statement_astray(edit: Callable[[str], str]) -> None:
    lines = SCRIPT.splitlines()
    older = edit(SCRIPT)
    assert older != SCRIPT
    assert {value for _, value in POSITIONS} == set(VALUES.values())
    for number, value in POSITIONS:
        indent = lines[number - 1][: len(lines[number - 1]) - len(lines[number - 1].lstrip())]
        newer = "\n".join([*lines[:number], f'{indent}flor.log("hindsight", {value})', *lines[number:]]) + "\n"
        result = propagate(newer, older, [number + 1])
        assert result.refused == ()
        assert not result.placed[0].present
        assert result.source == edit(newer)
