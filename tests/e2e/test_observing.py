"""The observer does not disturb: beside statements that do all they can to disturb, recorded values come out again."""

from __future__ import annotations

from pathlib import Path

import numpy  # noqa: F401 - a random generator counts only once its library is there
import pytest
import torch  # noqa: F401

from flor_ray.records import Operator, Segment
from tests.e2e.state_lab import VERSION, StateLab, values_of

SCRIPT = """
import random
import numpy as np
import torch
from torch import nn
import flor_ray as flor

data = torch.randn(60, 6)
targets = (data.sum(1) > 0).long()
net = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.3), nn.Linear(8, 2))
optimizer = torch.optim.Adam(net.parameters(), lr=0.01)
loader = torch.utils.data.DataLoader(
    torch.utils.data.TensorDataset(data, targets), batch_size=20, shuffle=True, generator=torch.Generator()
)
own = np.random.default_rng(3)
history = []


class Game:
    def __init__(self):
        self.position, self.moves = 0, []

    def play(self):
        self.position += random.randint(-1, 1)
        self.moves.append(self.position)
        return self.position


game = Game()


def shuffled_accuracy(model):
    order = torch.randperm(len(data))[:20]
    return (model(data[order]).argmax(1) == targets[order]).float().mean().item()


flor.checkpointing(net=net, optimizer=optimizer)
for epoch in flor.loop("epoch", range(3)):
    for x, y in flor.loop("step", loader):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(net(x + 0.01 * own.normal()), y)
        loss.backward()
        # INNER
        optimizer.step()
        flor.log("loss", loss.item())
    history.append(game.play())
    # TAIL
    flor.log("noise", random.random() + np.random.rand() + torch.rand(1).item())
    flor.log("history", list(history))
"""

DISTURBING = {
    "random numbers": "flor.log('x', random.random() + np.random.rand() + torch.rand(1).item() + own.random())",
    "a shuffled subset in another mode": "net.eval(); flor.log('x', shuffled_accuracy(net))",
    "running statistics": "flor.log('x', net(data).sum().item())",
    "an epoch of the loader": "flor.log('x', sum(float(a.sum()) for a, b in loader))",
    "gradients cleared": "optimizer.zero_grad(); flor.log('x', 1)",
    "gradients clipped": "flor.log('x', nn.utils.clip_grad_norm_(net.parameters(), 0.01).item())",
    "a backward pass": "net(data).sum().backward(); flor.log('x', net[0].weight.grad.norm().item())",
    "a training step": "net(data).sum().backward(); optimizer.step(); flor.log('x', 1)",
    "frozen layers": "net[0].requires_grad_(False); flor.log('x', 1)",
    "an object of the user's": "flor.log('x', game.play())",
    "a list": "flor.log('x', history.pop() if history else None)",
    "weights": "flor.log('x', net[0].weight.data.zero_().sum().item())",
    "gradients turned off": "torch.set_grad_enabled(False); flor.log('x', 1)",
}


@pytest.mark.parametrize("place", ["INNER", "TAIL"])
@pytest.mark.parametrize("what", DISTURBING)
def test_a_statement_that_disturbs_leaves_every_recorded_value_exact(what: str, place: str, tmp_path: Path) -> None:
    lab = StateLab(tmp_path)
    run = lab.record(SCRIPT)
    statements = DISTURBING[what].split("; ")
    lines = SCRIPT.split("\n")
    at = next(number for number, line in enumerate(lines) if f"# {place}" in line)
    indent = lines[at][: len(lines[at]) - len(lines[at].lstrip())]
    text = "\n".join([*lines[: at + 1], *(indent + statement for statement in statements), *lines[at + 1 :]])
    whole = Segment(VERSION, 1, 3, Operator.DP_I)
    replayed = values_of(lab.replay(run, text, [whole]), lab.objects)
    assert {key for key in replayed if key[2] == "x"}
    for name in ("loss", "noise", "history"):
        recorded = run.values(name)
        assert {key: replayed[key] for key in recorded} == recorded
