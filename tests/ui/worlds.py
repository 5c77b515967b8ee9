"""Stores for tests of the page, written directly: no script runs."""

from __future__ import annotations

import hashlib
import json
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from flor_ray.records import IMPORTED, EpochTimes, Experiment, Level, LogRecord, Profile, Status
from flor_ray.store.compacting import compacted_files, compacted_runs
from flor_ray.store.compacting.compacted_runs import KeptRun, ListedRun
from flor_ray.store.fragments import quote
from flor_ray.store.runs import to_json
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


def compacted(root: Path, runs: Sequence[Experiment]) -> None:
    """Write runs that have ended as compaction leaves them, which takes a hundredth of the time of recording each. They
    differ in version, name, times, status and arguments only."""
    store = Store(str(root / ".flor"))
    store.allow_compaction()
    common = json.loads(to_json(runs[0]))
    ordered = sorted(runs, key=lambda run: quote(run.version))
    for first in range(0, len(ordered), 10_000):
        kept = []
        for run in ordered[first : first + 10_000]:
            own = {"version": run.version, "run": run.run, "started": run.started, "ended": run.ended}
            row = json.dumps(common | own | {"status": run.status.value, "args": run.args})
            kept.append((KeptRun(run.version, row, None, None), ListedRun.of(run)))
        data = compacted_runs.to_bytes(kept)
        name = f"runs-0001-{hashlib.sha256(data).hexdigest()[:16]}.parquet"
        store.files.write(f"{compacted_files.FOLDER}/{quote(runs[0].project)}/{name}", data)


def many(root: Path, count: int, logged: int) -> None:
    """Add so many runs of another program, as they are after compaction; the newest `logged` have a loss in each of
    three epochs."""
    runs = [
        Experiment(
            *(PROJECT, version_of(number), None, "", f"run{number}", 1.6e9 + number, 1.6e9 + number + 60),
            Status.FAILED if number % 50 == 7 else Status.FINISHED,
            {"lr": round(0.1 * (number % 97), 1), "seed": number},
            main_loop="epoch",
            epochs=3,
            environment={IMPORTED: {"from": "MLflow"}},
        )
        for number in range(count)
    ]
    compacted(root, runs)
    store = Store(str(root / ".flor"))
    for run in runs[-logged:]:
        records = [
            LogRecord(Level.OUTER, epoch, None, "loss", 0, encode(1 / (epoch + run.started % 5)), run.started + epoch)
            for epoch in (1, 2, 3)
        ]
        store.append_logs(PROJECT, run.version, "recorded", 0, records)
