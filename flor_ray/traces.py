"""Traces of real training runs -> versions, segments and costs, as if they had been recorded here.

The format is that of the runs that FlorDB's authors released: CSV with one row per epoch and the columns
model, run, prep_seconds, epoch, epoch_seconds, eval_seconds.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from random import Random

from flor_ray import plan
from flor_ray.errors import UsageError
from flor_ray.records import (
    Checkpoint,
    EpochTimes,
    Experiment,
    Gap,
    Point,
    Profile,
    Region,
    Segment,
    SegmentCost,
    Status,
)
from flor_ray.scheduler.problem import Cutting

COLUMNS = ("model", "run", "prep_seconds", "epoch", "epoch_seconds", "eval_seconds")
CHECKPOINT_BYTES = 400_000_000  # BERT-base's weights; traces do not tell
READ_BYTES_PER_SECOND = 1e9
_COLUMN = "hindsight"


@dataclass(frozen=True, slots=True)
class Trace:
    """One run."""

    model: str
    run: str
    prep_seconds: float  # before the main loop
    epoch_seconds: tuple[float, ...]
    eval_seconds: float | None = None  # after it; None: not measured


def read(path: Path) -> tuple[Trace, ...]:
    """All runs of a file, in its order. Raises UsageError for a file that cannot be read or is not such a table."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"The traces {path} cannot be read: {error}") from error
    table = csv.DictReader(text.splitlines())
    missing = [column for column in COLUMNS if column not in (table.fieldnames or ())]
    if missing:
        raise UsageError(f"{path} has no column {', '.join(missing)}; a file of traces has {', '.join(COLUMNS)}.")
    runs: dict[tuple[str, str], Trace] = {}
    for row in table:
        key, where = (row["model"], row["run"]), f"{path}, line {table.line_num}"
        before = runs.get(key)
        epochs = before.epoch_seconds if before else ()
        if row["epoch"] != str(len(epochs) + 1):
            raise UsageError(
                f"{where}: epoch {row['epoch']} of {row['model']} {row['run']} should be {len(epochs) + 1}."
            )
        prep, seconds = (_seconds(row[column], column, where) for column in ("prep_seconds", "epoch_seconds"))
        suffix = _seconds(row["eval_seconds"], "eval_seconds", where) if row["eval_seconds"] else None
        runs[key] = Trace(*key, prep, (*epochs, seconds), suffix)
    if not runs:
        raise UsageError(f"{path} has no runs in it.")
    return tuple(runs.values())


def _seconds(text: str | None, column: str, where: str) -> float:
    try:
        seconds = float(text or "")
    except ValueError:
        seconds = math.nan
    if not (math.isfinite(seconds) and seconds >= 0):
        raise UsageError(f"{where}: {column} is {text!r}, and should be seconds.")
    return seconds


def replicated(traces: Sequence[Trace], versions: int, seed: int = 0) -> tuple[Trace, ...]:
    """So many runs: all of the given ones as often as they fit in, and of the rest a random choice."""
    chance = Random(f"{seed}/versions")
    times, rest = divmod(versions, len(traces))
    return (*(tuple(traces) * times), *chance.sample(traces, rest))


@dataclass(frozen=True, slots=True)
class TracedReplay:
    """The replay of a column that is logged in the nested loop, over all epochs of all runs."""

    experiments: Mapping[str, Experiment]
    costs: tuple[SegmentCost, ...]
    cutting: Cutting

    @property
    def epochs(self) -> int:
        return sum(experiment.epochs for experiment in self.experiments.values())


def replay(
    traces: Iterable[Trace],
    checkpoint_bytes: int = CHECKPOINT_BYTES,
    read_bytes_per_second: float = READ_BYTES_PER_SECOND,
) -> TracedReplay:
    """Each run as a version of its own, with a checkpoint at the end of every epoch."""
    experiments = {f"{trace.model}-{number:05d}": trace for number, trace in enumerate(traces)}
    recorded = {version: _experiment(version, trace) for version, trace in experiments.items()}
    checkpoints = {version: _checkpoints(e, checkpoint_bytes) for version, e in recorded.items()}
    gaps = [Gap(version, (_COLUMN,), tuple(range(1, e.epochs + 1))) for version, e in recorded.items()]
    regions = {(version, _COLUMN): Region.INNER for version in recorded}
    segments = [s for gap in gaps for s in plan.plan([gap], recorded, checkpoints, regions, {}).segments]
    points = {segment.version: plan.split_points(segment, checkpoints[segment.version]) for segment in segments}
    sums = {version: (0.0, *accumulate(t.seconds for t in e.profile.epochs)) for version, e in recorded.items()}
    read_seconds = checkpoint_bytes / read_bytes_per_second

    def cost(segment: Segment) -> SegmentCost:
        ends = sums[segment.version]
        return SegmentCost(
            segment,
            setup_seconds=recorded[segment.version].profile.setup_seconds,
            run_seconds=ends[segment.last] - ends[segment.first - 1] + read_seconds,
            read_seconds=read_seconds,
            read_bytes=checkpoint_bytes,
        )

    def between(segment: Segment) -> Sequence[int]:
        found = points[segment.version]
        return found[segment.first - 1 : segment.last - 1]  # a checkpoint each: point i is epoch i + 2

    return TracedReplay(recorded, tuple(map(cost, segments)), Cutting(between, plan.cut, cost))


def _experiment(version: str, trace: Trace) -> Experiment:
    times = tuple(EpochTimes(number, 0.0, seconds, 0.0) for number, seconds in enumerate(trace.epoch_seconds, start=1))
    return Experiment(
        project="traces",
        version=version,
        parent=None,
        script="train.py",
        run=trace.run,
        started=0.0,
        ended=None,
        status=Status.FINISHED,
        main_loop="epoch",
        nested_loop="step",
        epochs=len(times),
        profile=Profile(trace.prep_seconds, times, trace.eval_seconds or 0.0),
    )


def _checkpoints(experiment: Experiment, size: int) -> tuple[Checkpoint, ...]:
    at = ((epoch, f"{experiment.version}/{epoch}") for epoch in range(experiment.epochs + 1))
    script, point = experiment.script, Point.EPOCH_END
    return tuple(Checkpoint(experiment.version, script, 1, epoch, point, key, size, 0.0) for epoch, key in at)
