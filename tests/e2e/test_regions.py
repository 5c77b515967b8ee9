"""Statements in other files than the script, replayed by real processes: the values are those of a run that had the
statements from the start, and no more is run than is needed."""

# ruff: noqa: E501 - statements as they stand in files

from __future__ import annotations

from pathlib import Path

import pytest

from flor_ray.records import Operator, Variant
from flor_ray.reports.plans import Explanation
from tests.conftest import Lab

SCRIPT = """
import torch
import flor_ray as flor
import engine
from model import Net

torch.manual_seed(3)
trainer = engine.Trainer(Net())
trainer.fit(flor.arg("epochs", 3))
flor.log("final", trainer.evaluate_quietly())
"""
ENGINE = """
import torch
import flor_ray as flor
from data import batches
from measures import evaluate

def watched(hook):
    return lambda loss: hook(loss)

class Trainer:
    def __init__(self, net):
        self.net = net
        self.optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
        self.seen = 0
        self.watch = watched(self.on_loss)

    def fit(self, epochs):
        flor.checkpointing(net=self.net, optimizer=self.optimizer)
        for epoch in flor.loop("epoch", range(epochs)):
            self.prepare(epoch)
            for x, y in flor.loop("step", batches()):
                self.step(x, y)
            with torch.no_grad():
                loss = evaluate(self.net)
            flor.log("loss", loss)

    def prepare(self, epoch):
        self.optimizer.param_groups[0]["lr"] = 0.1 / (1 + epoch)

    def step(self, x, y):
        self.optimizer.zero_grad()
        loss = torch.nn.functional.mse_loss(self.net(x), y)
        loss.backward()
        self.optimizer.step()
        self.seen += len(x)
        self.watch(loss)

    def on_loss(self, loss):
        self.last = loss.item()

    def evaluate_quietly(self):
        return sum(p.sum().item() for p in self.net.parameters())
"""
MODEL = """
import torch
import flor_ray as flor

class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.first = torch.nn.Linear(4, 8)
        self.drop = torch.nn.Dropout(0.2)
        self.second = torch.nn.Linear(8, 1)

    def forward(self, x):
        x = self.drop(torch.relu(self.first(x)))
        return self.second(x)
"""
DATA = """
import torch

def batches():
    return [(x, x.sum(1, keepdim=True)) for x in torch.randn(5, 6, 4)]
"""
MEASURES = """
import torch
import flor_ray as flor

def evaluate(net):
    net.eval()
    try:
        found = net(torch.ones(2, 4)).mean().item()
    finally:
        net.train()
    return found
"""
FILES = {"engine.py": ENGINE, "model.py": MODEL, "data.py": DATA, "measures.py": MEASURES}

# feature -> file, the line after which it stands, the statement, and what replays it
STATEMENTS = {
    "found": ("measures.py", "        found = net(torch.ones(2, 4)).mean().item()", "found", Operator.DP_I, Variant.OUTER),
    "rate": (
        "engine.py",
        '        self.optimizer.param_groups[0]["lr"] = 0.1 / (1 + epoch)',
        "[epoch, self.seen, next(self.net.parameters()).sum().item()]",
        Operator.DP_I,
        Variant.OUTER,
    ),
    "steps": ("engine.py", "        self.seen += len(x)", "[self.seen, loss.item()]", Operator.DP_I, Variant.INNER),
    "watched": ("engine.py", "        self.last = loss.item()", "self.last", Operator.DP_STAR, None),
}  # fmt: skip


def with_statements(files: dict[str, str]) -> dict[str, str]:
    changed = dict(files)
    for name, (path, after, value, _, _) in STATEMENTS.items():
        indent = after[: len(after) - len(after.lstrip())]
        assert changed[path].count(f"\n{after}\n") == 1
        changed[path] = changed[path].replace(f"\n{after}\n", f'\n{after}\n{indent}flor.log("{name}", {value})\n')
    return changed


def record(lab: Lab, files: dict[str, str]) -> None:
    for path, text in files.items():
        lab.write(path, text)
    lab.record_forked(SCRIPT, torch=True)


@pytest.fixture(scope="module")
def labs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Lab, Lab]:
    """A repository as it was recorded, with the statements written afterwards; and one with them from the start."""
    folder: Path = tmp_path_factory.mktemp("regions")
    plain, by_hand = Lab(folder / "plain"), Lab(folder / "by_hand")
    record(plain, FILES)
    record(by_hand, with_statements(FILES))
    for path, text in with_statements(FILES).items():
        plain.write(path, text)
    return plain, by_hand


@pytest.mark.parametrize("name", STATEMENTS)
def test_a_statement_in_another_file_is_replayed_exactly_and_cheaply(labs: tuple[Lab, Lab], name: str) -> None:
    plain, by_hand = labs
    *_, operator, variant = STATEMENTS[name]
    prepared, outcome = plain.replay([name])
    assert {cost.segment.operator for cost in prepared.costs} == {operator}, str(Explanation(prepared))
    assert variant is None or {cost.segment.variant for cost in prepared.costs} == {variant}
    assert outcome.failures == []
    assert [report.mismatch for report in outcome.reports] == [None] * len(outcome.reports)
    assert len(plain.values(name)) in (3, 15)
    assert plain.values(name) == by_hand.values(name)


def test_explain_says_why_everything_has_to_run(labs: tuple[Lab, Lab]) -> None:
    prepared = labs[0].prepare(["watched"], again=True)
    assert (
        "`watched` may be logged anywhere in the script (`engine.Trainer.on_loss` is passed around as a value "
        "(engine.py:15), so nobody knows when it runs), so the whole script is replayed"
    ) in str(Explanation(prepared))


def test_what_the_run_logged_beside_a_statement_tells_when_a_callback_runs(lab: Lab) -> None:
    seen = {
        **FILES,
        "engine.py": ENGINE.replace("loss.item()\n\n", 'loss.item()\n        flor.log("last", self.last)\n\n'),
    }
    record(lab, seen)
    lab.write("engine.py", seen["engine.py"].replace('("last", self.last)\n', '("last", self.last)\n        flor.log("twice", 2 * self.last)\n'))  # fmt: skip
    prepared, outcome = lab.replay(["twice"], "epoch == 2")
    assert {(c.segment.operator, c.segment.first, c.segment.last) for c in prepared.costs} == {(Operator.DP_I, 2, 2)}
    assert "what the run logged there" in str(Explanation(prepared))
    assert outcome.failures == []
    last = [value for epoch, *_, value in lab.values("last") if epoch == 2]
    assert [value for *_, value in lab.values("twice")] == [2 * value for value in last]
