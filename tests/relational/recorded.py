"""Stores of a few runs, made without running anything."""

from __future__ import annotations

import subprocess
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from flor_ray.records import EpochTimes, Experiment, Level, LogRecord, Profile, Status
from flor_ray.store.store import Store
from flor_ray.store.typed_values import encode

Logged = tuple[str, int | None, int | None, object]  # name, epoch, step, value

START = 1_700_000_000.0


def experiment(version: str, epochs: int = 0, steps: int | None = None, **others: object) -> Experiment:
    """A finished run; `steps` were counted in each of its epochs."""
    times = tuple(EpochTimes(epoch, 1.0, 2.0, 3.0, steps) for epoch in range(1, epochs + 1))
    known: dict[str, object] = {
        "parent": None, "script": "train.py", "run": "", "started": START, "ended": START + 60.0,
        "status": Status.FINISHED, "epochs": epochs, "profile": Profile(1.0, times),
    }  # fmt: skip
    return Experiment("p", version, **(known | others))  # type: ignore[arg-type]


def records(logged: Iterable[Logged]) -> list[LogRecord]:
    """Log records in the order of logging; the repetitions of a name in one place are counted."""
    seen: dict[tuple[object, ...], int] = {}
    found = []
    for name, epoch, step, value in logged:
        level = Level.DATA_PREP if epoch is None else Level.OUTER if step is None else Level.INNER
        count = seen[name, epoch, step] = seen.get((name, epoch, step), -1) + 1
        found.append(LogRecord(level, epoch, step, name, count, encode(value), START + 1.5))
    return found


def store_of(
    folder: Path, runs: Mapping[Experiment, Sequence[Logged]] | Sequence[tuple[Experiment, Sequence[Logged]]]
) -> Store:
    """A store with these runs."""
    store = Store(str(folder / ".flor"))
    for one, logged in runs.items() if isinstance(runs, Mapping) else runs:
        store.begin_run(one)
        store.end_run(one)
        store.append_logs(one.project, one.version, "recorded", 0, records(logged))
    return store


def repository(folder: Path) -> None:
    """Make a folder a git repository, which a project is."""
    subprocess.run(["git", "init", "-q", str(folder)], check=True)
