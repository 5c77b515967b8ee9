"""Divergences that are planted: replay must notice each, and name what it comes from.

Each script carries something from epoch to epoch that no checkpoint sees, or reads something that is changed after it
was recorded. The scripts are plain Python: what is measured is whether it is noticed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from replaying.cases import SCRIPT, insert
from replaying.recording import Repository

_SCRIPT = """\
import random
{imports}
import flor_ray as flor

epochs = flor.arg("epochs", 5)
state = {{"weight": 1.0}}
{before}
flor.checkpointing(state=state)
for epoch in flor.loop("epoch", range(epochs)):
    for step in flor.loop("step", range(5)):
        {step}
        state["weight"] -= rate * random.random()
        flor.log("weight", state["weight"])
    flor.log("epoch_weight", state["weight"])
"""
_AFTER = '        state["weight"] -= rate * random.random()'
_STATEMENT = 'flor.log("rate", rate)'
_MIDDLE = 3


@dataclass(frozen=True, slots=True)
class Planted:
    """A script that cannot be replayed exactly, and the name that its user must be told."""

    name: str
    culprit: str
    script: str
    data: Mapping[str, str] = field(default_factory=dict)  # files that git ignores
    changed: Mapping[str, str] = field(default_factory=dict)  # the same, after the run was recorded


@dataclass(frozen=True, slots=True)
class Noticed:
    """What a replay made of it."""

    name: str
    is_detected: bool
    is_named: bool
    told: str  # what the user is told


def _script(step: str, before: str = "", imports: str = "") -> str:
    return _SCRIPT.format(step=step.replace("\n", "\n        "), before=before, imports=imports)


PLANTED = (
    Planted(
        "state of a C library",
        "weight",
        # no variable has the library, or a replay would begin with the script
        _script("rate = 1 / (1 + ctypes.CDLL(None).rand() % 9)", imports="import ctypes"),
    ),
    Planted(
        "changed data file",
        "train.csv",
        _script(
            "rate = rows()[(5 * epoch + step) % 3]",
            # read again for each step: small lists that a loop uses would be in the checkpoints
            before='def rows():\n    return [float(row) for row in Path("data/train.csv").read_text().split()]',
            imports="from pathlib import Path",
        ),
        {"data/train.csv": "0.1\n0.2\n0.3\n"},
        {"data/train.csv": "0.1\n0.2\n0.4\n"},
    ),
)


def notice(planted: Planted, repository: Repository) -> Noticed:
    """Record, change what is to be changed, and replay an epoch in the middle."""
    repository.write({".gitignore": "".join(f"{name}\n" for name in planted.data), SCRIPT: planted.script})
    repository.write(planted.data)
    repository.record()
    repository.write(planted.changed)
    repository.write({SCRIPT: insert(planted.script, _AFTER, [_STATEMENT])})
    drive = repository.replay(["rate"], f"epoch == {_MIDDLE}")
    detected = any(segment.mismatch is not None for segment in drive.segments)
    told = " ".join([*drive.problems, *drive.failures])
    return Noticed(planted.name, detected, is_named(planted, told), told)


def is_named(planted: Planted, told: str) -> bool:
    """Whether the user is told what the divergence comes from."""
    return planted.culprit in told
