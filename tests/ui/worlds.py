"""Stores for tests of the page, written directly: no script runs."""

from __future__ import annotations

import hashlib
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from flor_ray.records import EpochTimes, Experiment, Level, LogRecord, Profile, Status
from flor_ray.store.store import Store
from flor_ray.store.typed_values import encode

PROJECT = "project"


def version_of(number: int) -> str:
    return hashlib.sha1(f"run {number}".encode()).hexdigest()


def folder(path: Path) -> Path:
    """A git repository with nothing in it."""
    path.mkdir(parents=True)
    subprocess.run(["git", "init", "--quiet", str(path)], check=True)
    return path


def record(
    root: Path,
    number: int,
    run: str,
    args: Mapping[str, object] = {},
    logged: Mapping[str, Sequence[object]] = {},
    status: Status = Status.FINISHED,
    error: str | None = None,
    script: str = "train.py",
) -> str:
    """A run with these values of features, one per epoch. Returns its version."""
    store, version, started = Store(str(root / ".flor")), version_of(number), 1.7e9 + number
    epochs = max((len(values) for values in logged.values()), default=0)
    records = [
        LogRecord(Level.OUTER, epoch, None, name, 0, encode(value), started + epoch)
        for name, values in logged.items()
        for epoch, value in enumerate(values, 1)
    ]
    store.append_logs(PROJECT, version, "recorded", 0, records)
    store.end_run(
        Experiment(
            *(PROJECT, version, None, script, run, started, started + 10 + number, status, dict(args)),
            main_loop="epoch",
            epochs=epochs,
            profile=Profile(1.0, tuple(EpochTimes(epoch, 0.1, 0.2, 0.3) for epoch in range(1, epochs + 1))),
            error=error,
        )
    )
    return version
